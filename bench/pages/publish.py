"""The JSON of a bench, and all that is drawn from it: its page, its picture, README's table. `make bench-pages`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from base import paths
from bench import costs
from bench.pages import int8, lab, peers, scale, speed

FOLDER = paths.ROOT / "bench"
README = paths.ROOT / "README.md"
# Between these README's table is drawn.
BEGIN, END = "<!-- drawn from bench/peers.json by make bench-pages -->\n", "<!-- end -->\n"
PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "results": lambda document: speed.render(document) + costs.table(),
    "peers": peers.render,
    "int8": int8.render,
    "scale": scale.render,
    "lab": lab.render,
}


def load(name: str) -> dict[str, Any]:
    """What `bench/<name>.json` holds; nothing where it was not measured yet."""
    try:
        document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    except FileNotFoundError:
        return {}
    return document


def save(name: str, document: dict[str, Any]) -> None:
    """Keep the figures, and draw what is drawn from them anew."""
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    draw(name)


def page(name: str) -> Path:
    """Where the page of a bench is."""
    return FOLDER / f"{name}.md"


def draw(name: str) -> None:
    """The page of a bench anew, from its JSON."""
    document = load(name)
    page(name).write_text(PAGES[name](document))
    if name == "peers":
        README.write_text(readme(README.read_text(), document))
        if str(peers.PICTURED) in document["columns"]:
            peers.draw(document, page(name).with_suffix(".svg"))


def readme(text: str, document: dict[str, Any]) -> str:
    """README with its table drawn anew.

    Raises:
        ValueError: it has no place for one.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md has no place for the table, between {BEGIN.strip()} and {END.strip()}")
    return before + begin + peers.table(document) + end + after


def main() -> None:
    """Draw everything that has been measured."""
    for name in PAGES:
        if load(name):
            draw(name)


if __name__ == "__main__":
    main()
