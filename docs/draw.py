"""Draws the lab as compose.yaml has it: `python docs/draw.py` writes docs/lab.svg and docs/emr-lab.svg.

Services and their ports come from compose.yaml; where a box stands is written here. Readable at a phone's width.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
COMPOSE = HERE.parent / "compose.yaml"
WIDTH, MARGIN, ROW, HEIGHT = 360, 12, 92, 58


@dataclass(frozen=True)
class Place:
    """Where a service stands, what it is in a few words: row, first of twelve columns, columns that it takes."""

    row: int
    column: int
    columns: int
    words: str


@dataclass(frozen=True)
class Picture:
    """Which services are drawn where, what `your laptop` above them does, and who talks to whom."""

    path: Path
    laptop: str
    places: Mapping[str, Place]
    arrows: Sequence[tuple[str, str]]


LAB = Picture(
    HERE / "lab.svg",
    "make run: photographs to S3, spark-submit to the master, the report back",
    {
        "master": Place(1, 0, 12, "Spark master, and the driver"),
        "worker-1": Place(2, 0, 6, "an m5.xlarge"),
        "worker-2": Place(2, 6, 6, "an m5.xlarge"),
        "minio": Place(3, 0, 7, "S3: photographs, results"),
        "history": Place(3, 7, 5, "finished jobs"),
        "secrets": Place(4, 0, 6, "makes the keys, ends"),
        "init": Place(4, 6, 6, "bucket, users; ends"),
    },
    (
        ("laptop", "master"),
        ("master", "worker-1"),
        ("master", "worker-2"),
        ("worker-1", "minio"),
        ("worker-2", "minio"),
        ("history", "minio"),
    ),
)
EMR_LAB = Picture(
    HERE / "emr-lab.svg",
    "make emr-run TARGET=emr-lab: RunJobFlow, follow the step, the report back",
    {
        "emr": Place(1, 0, 7, "EMR's API: clusters, steps, sessions, logs"),
        "sessions": Place(1, 7, 5, "TLS, to sessions"),
        "primary": Place(2, 0, 12, "YARN ResourceManager, HDFS NameNode, the driver"),
        "core-1": Place(3, 0, 6, "NodeManager, DataNode"),
        "core-2": Place(3, 6, 6, "NodeManager, DataNode"),
        "minio": Place(4, 0, 7, "S3: packages, results"),
        "history": Place(4, 7, 5, "finished jobs"),
    },
    (
        ("laptop", "emr"),
        ("laptop", "sessions"),
        ("emr", "primary"),
        ("primary", "core-1"),
        ("primary", "core-2"),
        ("core-1", "minio"),
        ("core-2", "minio"),
        ("history", "minio"),
    ),
)


def draw(picture: Picture, services: Mapping[str, Any]) -> str:
    """The picture as SVG; `services` as compose.yaml has them.

    Raises:
        ValueError: a place has lost its service, or a service of compose.yaml is in no picture.
    """
    places = picture.places
    if strange := services.keys() ^ (LAB.places.keys() | EMR_LAB.places.keys()):
        raise ValueError(f"{', '.join(sorted(strange))}: compose.yaml and docs/draw.py do not have the same services")
    rows = max(place.row for place in places.values()) + 1
    laptop = Place(0, 0, 12, picture.laptop)
    shapes = [*_arrows(picture.arrows, {**places, "laptop": laptop})]
    shapes += _box("your laptop", laptop, ports="", fill="#f4f4f4")
    for name, place in places.items():
        ends = not services[name].get("healthcheck")
        shapes += _box(name, place, ports=_ports(services[name]), fill="#ffffff" if ends else "#e8f1fb", dashed=ends)
    height = rows * ROW + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">\n'
        f"<title>The services: {escape(', '.join(places))}</title>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#667"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _box(name: str, place: Place, *, ports: str, fill: str, dashed: bool = False) -> Iterator[str]:
    left, top, width = _corner(place)
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    corner = f'x="{left:.0f}" y="{top}" width="{width:.0f}" height="{HEIGHT}"'
    yield f'<rect {corner} rx="6" fill="{fill}" stroke="#667"{dash}/>'
    lines = [f'<tspan font-weight="600">{escape(name)}</tspan>', *_wrapped(place.words, width), escape(ports)]
    for number, text in enumerate(line for line in lines if line):
        yield f'<text x="{left + 8:.0f}" y="{top + 18 + 15 * number}" fill="#223">{text}</text>'


def _wrapped(words: str, width: float) -> list[str]:
    letters = int(width / 6.3)
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) + 1 > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [escape(line) for line in lines]


def _arrows(arrows: Sequence[tuple[str, str]], places: Mapping[str, Place]) -> Iterator[str]:
    for source, target in arrows:
        (x1, y1, w1), (x2, y2, w2) = _corner(places[source]), _corner(places[target])
        if y1 == y2:
            start, end = (x1, x2 + w2) if x1 > x2 else (x1 + w1, x2)
            yield _line(start, y1 + HEIGHT / 2, end, y1 + HEIGHT / 2)
        else:
            x = max(x1, x2) + min(w1, w2, x1 + w1 - max(x1, x2), x2 + w2 - max(x1, x2)) / 2
            yield _line(x, y1 + HEIGHT, x, y2)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}" stroke="#667" marker-end="url(#tip)"/>'


def _corner(place: Place) -> tuple[float, int, float]:
    """Left, top and width in pixels."""
    column = (WIDTH - 2 * MARGIN + 8) / 12
    return MARGIN + place.column * column, MARGIN + place.row * ROW, place.columns * column - 8


def _ports(service: Mapping[str, Any]) -> str:
    published = [re.search(r":-([0-9]+)\}:[0-9]+$", port) for port in service.get("ports", [])]
    return "127.0.0.1: " + ", ".join(port[1] for port in published if port) if published else ""


def main() -> None:
    """Write the pictures."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for picture in (LAB, EMR_LAB):
        picture.path.write_text(draw(picture, services))
        sys.stdout.write(f"{picture.path}\n")


if __name__ == "__main__":
    main()
