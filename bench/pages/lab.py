"""bench/lab.md: the lab beside local Spark on the same cores."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench import machine, turns

EXTRACTION_GOAL = 0.85


def render(document: dict[str, Any]) -> str:
    """The page as Markdown: rates of the median run, the median of the pairs' ratios."""
    on, images, pairs = document["machine"], document["images"], document["pairs"]
    size = document["image_size"]
    return (
        "# The lab beside local Spark\n\n"
        f"Measured by `make bench-lab` on {on['date']}: {machine.words(on)}; {images:,} JPEG files of {size} x {size} "
        f"pixels in the lab's S3, both on the same cores, {len(pairs)} pairs in turns. All of it is in "
        "[lab.json](lab.json), too.\n\n"
        "| what | lab | local | ratio | goal |\n|---|---|---|---|---|\n"
        + _row("extraction", pairs, "extract_s", images=images, goal=f"≥ {EXTRACTION_GOAL:g}")
        + _row("the whole run", pairs, "wall_s", images=images, goal="")
    )


def _row(name: str, pairs: list[dict[str, Any]], column: str, *, images: int, goal: str) -> str:
    """A row; none where runs were stopped before their end, and so have no such seconds."""
    lab_s, local_s = ([pair[target][column] for pair in pairs] for target in ("lab", "local"))
    if None in (*lab_s, *local_s):
        return ""
    rates = f"{images / median(lab_s):,.0f} images/s | {images / median(local_s):,.0f} images/s"
    return f"| {name} | {rates} | {turns.ratio(lab_s, local_s):.2f} | {goal} |\n"
