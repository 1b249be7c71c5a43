"""bench/scale.md: what grows with the number of images, and what must not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bench import machine

MEMORY_GOAL = 1.1
GETS_GOAL = {"files": 1.0, "shards": 0.01}  # an image, besides the photographs that the report shows
EXTRAPOLATED = 100_000_000  # images, whose cost is told without having been measured


def render(document: dict[str, Any]) -> str:
    """The page as Markdown; of what was not measured it says nothing."""
    on = document["machine"]
    sections = {"runs": _whole_runs, "requests": _requests, "listing": _listing, "known": _known_ids}
    return (
        "# Scale\n\n"
        f"Measured by `make bench-scale` on {on['date']}: {machine.words(on)}. All of it is in "
        "[scale.json](scale.json), too.\n"
        + "".join(section(document) for part, section in sections.items() if part in document)
        + (_extrapolated(document) if {"runs", "listing", "known"} <= document.keys() else "")
    )


def _whole_runs(document: dict[str, Any]) -> str:
    runs, size = document["runs"], document["image_size"]
    names = " | ".join(f"{run['images']:,} images" for run in runs)
    return (
        "\n## A whole run\n\n"
        f"JPEG files of {size} x {size} pixels in local shards, as `make shards` packs them, EfficientNet-Lite0 in "
        "float32; one run each, nothing known before. The photographs are the sample's, each under many names: hard "
        "links, so that a million take no disk before they are packed. Images a second, seconds in brackets.\n\n"
        f"| | {names} |\n|---|{'---|' * len(runs)}\n"
        + _row("`make shards`", [_pace(run, run["packing_s"]) for run in runs])
        + _stages(runs)
        + _row("the whole run", [_pace(run, run["wall_s"]) for run in runs])
        + _row("photographs", [f"{run['photographs_mb']:,.0f} MB" for run in runs])
        + _row("read", [f"{run['input_mb']:,.0f} MB in {run['input_files']:,} files" for run in runs])
        + _row("written", [f"{run['output_mb']:,.0f} MB in {run['output_files']:,} files" for run in runs])
        + _row(
            "of the cores' time taken by other processes",
            [f"{run['elsewhere']:.0%}".replace("%", " %") for run in runs],
        )
        + _row("driver's peak memory", [f"{run['driver_mib']:,} MiB" for run in runs])
        + "\n"
        + "".join(_memory(few, many) for few, many in pairwise(runs))
    )


def _listing(document: dict[str, Any]) -> str:
    return (
        "\n## A listing\n\n"
        "A store that only names keys, listed as the job does; a real one adds its answers, one request a thousand "
        "keys.\n\n"
        "| keys | seconds | keys/s | peak memory |\n|---|---|---|---|\n"
        + "".join(
            f"| {row['keys']:,} | {row['seconds']:,.1f} | {row['keys'] / row['seconds']:,.0f} "
            f"| {row['peak_mib']:,} MiB |\n"
            for row in document["listing"]
        )
    )


def _known_ids(document: dict[str, Any]) -> str:
    return (
        "\n## What is known\n\n"
        "Made-up files of features, all of whose images are listed again, and one new image: how long it takes to tell "
        "which, in a JVM of 1 GB. Few rows the driver compares itself. More the workers compare, in buckets of a "
        "million rows: every file is read once, and none has more than one bucket at a time.\n\n"
        "| known ids | seconds | compared by | driver's peak memory | largest worker's |\n"
        "|---|---|---|---|---|\n" + "".join(map(_known, document["known"]))
    )


def extrapolated_s(rows: list[dict[str, float]], count: int, *, by: str) -> float:
    """Seconds at `count`, on the line through the two largest measured, which lie under their numbers in `by`."""
    few, many = sorted(rows, key=lambda row: row[by])[-2:]
    each_s = (many["seconds"] - few["seconds"]) / (many[by] - few[by])
    return many["seconds"] + max(0.0, each_s) * (count - many[by])


def _stages(runs: list[dict[str, Any]]) -> str:
    return "".join(
        _row(stage, [_pace(run, run["stages_s"][stage]) for run in runs])
        for stage in runs[-1]["stages_s"]
        if all(run["stages_s"].get(stage) for run in runs)
    )


def _pace(run: dict[str, Any], seconds: float) -> str:
    return f"{run['images'] / seconds:,.0f} ({seconds:,.1f} s)"


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |\n"


def _known(row: dict[str, Any]) -> str:
    """A row of the table."""
    by, worker = ("the driver", "") if row["by_driver"] else ("the workers", f"{row['worker_mib']:,} MiB")
    return f"| {row['ids']:,} | {row['seconds']:,.1f} | {by} | {row['driver_mib']:,} MiB | {worker} |\n"


def _requests(document: dict[str, Any]) -> str:
    """What was counted at the S3 server."""
    (counted,) = document["requests"]
    images, shown = counted["images"], counted["examples"]
    rows = ""
    for name, goal in GETS_GOAL.items():
        kinds = counted[name]
        gets = (kinds["GET"] - shown) / images
        met = f"≤ {goal:g} GET, 0 HEAD" + ("" if gets <= goal and not kinds["HEAD"] else ": missed")
        rows += f"| {name} | {gets:.4f} | {kinds['HEAD'] / images:g} | {kinds['LIST']} | {met} |\n"
    return (
        "\n## Requests\n\n"
        f"A run on {images:,} of these photographs in S3, counted at the server; the {shown} that its report shows are "
        "fetched once more, and not among them.\n\n"
        "| input | GET an image | HEAD an image | LIST | goal |\n|---|---|---|---|---|\n" + rows
    )


def _memory(few: dict[str, Any], many: dict[str, Any]) -> str:
    ratio = many["driver_mib"] / few["driver_mib"]
    return (
        f"The driver takes {ratio:.2f} times as much at {many['images']:,} images as at {few['images']:,}; the goal is "
        f"≤ {MEMORY_GOAL:g}{'' if ratio <= MEMORY_GOAL else ': missed'}.\n"
    )


def _extrapolated(document: dict[str, Any]) -> str:
    """What was not measured, and says so."""
    known_s = extrapolated_s(document["known"], EXTRAPOLATED, by="ids")
    keys_s = extrapolated_s(document["listing"], EXTRAPOLATED, by="keys")
    largest = document["runs"][-1]
    hours = EXTRAPOLATED / largest["images"] * largest["stages_s"]["extract"] / 3600
    return (
        f"\nNot measured but extrapolated, on the lines through the two largest rows: {EXTRAPOLATED:,} keys are listed "
        f"in {keys_s / 60:,.0f} minutes and {EXTRAPOLATED / 1000:,.0f} requests, and as many known ids are told in "
        f"{known_s / 60:,.0f} minutes on this machine; to extract them the first time would take it {hours:,.0f} hours "
        f"at the rate of the run of {largest['images']:,}.\n"
    )
