"""What a run came to, in the five lines that it ends with: out of its record (run.json), wherever that is read."""

from __future__ import annotations

from typing import Any


def format_summary(record: dict[str, Any]) -> str:
    """A line each about images, classes, rejected images, components and accuracy."""
    counts, tested = record["counts"], record["accuracy"] is not None
    skipped = ", ".join(f"{number} {name}" for name, number in record["skipped_names"].items())
    lines = {
        "images": f"{counts['listed']:,}: {counts['extracted']:,} extracted, {counts['known']:,} already known",
        "classes": f"{record['classes']:,}",
        "rejected": f"{counts['rejected']:,}" + (f"; skipped as no images: {skipped}" if skipped else ""),
        "components": f"{record['components']:,} of {record['model']['features']:,} features, "
        f"{record['variance_kept']:.1%} of the variance",
        "accuracy": f"{record['accuracy']:.1%} of {record['test_images']:,} test images, "
        f"macro F1 {record['macro_f1']:.3f}"
        if tested
        else record["notes"][0],
    }
    return "".join(f"{name:<12}{text}\n" for name, text in lines.items())


def unchanged(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that finds nothing new: the last one's, which stays, with all its images known by now."""
    counts = record["counts"]
    return {**record, "counts": {**counts, "extracted": 0, "known": counts["extracted"] + counts["known"]}}
