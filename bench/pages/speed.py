"""bench/results.md: speed and memory on one machine, each figure beside its peer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench import machine


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table.

    Attributes:
        name: what was measured.
        unit: of `ours` and `peer`: images/s, s or MiB.
        ours, peer: the figures; no peer where the goal is one of seconds.
        peer_name: what a reader calls the peer.
        ratio: as the page's words and the goal mean it, the median of rounds; None without a peer.
        at_least, at_most: the goal, of the ratio, or of `ours` where there is no peer.
    """

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def goal(self) -> str:
        """The goal, and whether it is met."""
        measured = self.ours if self.ratio is None else self.ratio
        unit = f" {self.unit}" if self.ratio is None else ""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{unit}" + ("" if measured >= self.at_least else ": missed")
        if self.at_most is not None:
            return f"≤ {self.at_most:g}{unit}" + ("" if measured <= self.at_most else ": missed")
        return ""


def as_document(figures: list[Figure], *, rate: dict[str, Any], rounds: dict[int, int]) -> dict[str, Any]:
    """What bench/results.json holds. `rate`'s entries lie on top, where the estimates read them."""
    return {
        **rate,
        "machine": machine.describe(),
        "rounds": {str(images): count for images, count in rounds.items()},
        "figures": [asdict(figure) for figure in figures],
    }


def render(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    figures = [Figure(**row) for row in document["figures"]]
    rounds = ", ".join(f"{count} of {int(images):,}" for images, count in document["rounds"].items())
    rows = "".join(
        f"| {each.name} | {_amount(each.ours, each.unit)} | {_peer(each)} "
        f"| {'' if each.ratio is None else f'{each.ratio:.2f}'} | {each.goal()} |\n"
        for each in figures
    )
    size, on = document["image_size"], document["machine"]
    return (
        "# Speed and memory\n\n"
        f"Measured by `make bench` on {on['date']}: {machine.words(on)}. EfficientNet-Lite0 in float32, JPEG files of "
        f"{size} x {size} pixels. Rates are medians of rounds in turns with the bare model: {rounds} images; Spark's "
        "start is the median of pairs, our scaler and PCA that of three; all else ran once. Those of the "
        "extraction, and of the bare model beside it, begin when each process has its model; all others with "
        "the start. The ratio is what counts; the seconds are this machine's. "
        "All of it is in [results.json](results.json), too.\n\n"
        "| what | ours | peer | ratio | goal |\n|---|---|---|---|---|\n" + rows
    )


def _peer(figure: Figure) -> str:
    return "" if figure.peer is None else f"{figure.peer_name}: {_amount(figure.peer, figure.unit)}"


def _amount(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"
