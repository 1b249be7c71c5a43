"""bench/peers.md and its picture: the same job by others, a column for each number of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from bench import machine

OURS = ("emrlab", "emrlab-int8")
PICTURED = 20_160  # images, of the picture's bars


@dataclass(frozen=True, kw_only=True)
class Row:
    """A way to do the job, as the page names it; the rows that it is compared by hold the same model file."""

    key: str
    name: str
    note: str = ""
    at_least: dict[int, float] | None = None


# How often emrlab is to be as fast: the goals.
ROWS = (
    Row(key="emrlab", name="emrlab"),
    Row(key="daft", name="Daft", at_least={20_160: 1.0, 200_000: 1.05}),
    Row(key="daft-own", name="Daft, its own decoding", note="ONNX Runtime"),
    Row(key="ray", name="Ray Data", at_least={20_160: 1.5}),
    Row(key="ray-own", name="Ray Data, its own decoding", note="ONNX Runtime"),
    Row(key="notebook", name="Spark as in notebooks", note="binaryFile, pandas UDF, Keras", at_least={20_160: 4.0}),
    Row(key="emrlab-int8", name="emrlab, MODEL=lite0-int8"),
    Row(key="daft-int8", name="Daft, int8"),
    Row(key="ray-int8", name="Ray Data, int8"),
    Row(key="notebook-int8", name="Spark as in notebooks, int8", note="binaryFile, pandas UDF, LiteRT"),
)


def render(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    columns = _columns(document)
    measured = "".join(
        f"- {images:,} images: {column['machine']['date']}, {machine.words(column['machine'])}; "
        f"{column['rounds']} round{'s' if column['rounds'] != 1 else ''} in turns.\n"
        for images, column in columns.items()
    )
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    size = document["image_size"]
    return (
        "# The same job by others\n\n"
        "Measured by `make bench-peers`: from the command to the last feature in parquet, in images a second, and in "
        "brackets how many times as fast emrlab is with the same model file, the median of the rounds' ratios; what "
        "takes minutes ran in the first round alone. Local "
        f"JPEG files of {size} x {size} pixels, EfficientNet-Lite0. {versions}. A way whose one run would take more "
        f"than {document['limit_minutes']} minutes is left out, and the table says how long it would take.\n\n"
        f"{measured}\n{table(document)}\n"
        "Daft and Ray Data run emrlab's own decoding and LiteRT runtime: there the engines differ alone. Their "
        f"features are emrlab's to {document['parity']:g} of their scale, and so are the notebook's. "
        f"{_own(document)}As many processes as cores, each with one thread but those of the notebook's Keras. All of "
        "it is in [peers.json](peers.json), too.\n"
    )


def table(document: dict[str, Any]) -> str:
    """The rates alone, as Markdown."""
    columns = _columns(document)
    head = (
        f"| way | {' | '.join(f'{images:,} images' for images in columns)} | goal |\n|---|{'---|' * len(columns)}---|\n"
    )
    rows = [row for row in ROWS if any(_has(column, row.key) for column in columns.values())]
    return head + "".join(
        f"| {row.name}{f' ({row.note})' if row.note else ''} "
        f"| {' | '.join(_cell(column, row.key) for column in columns.values())} | {_goals(row, columns)} |\n"
        for row in rows
    )


def draw(document: dict[str, Any], target: Path) -> None:
    """The rates at PICTURED images as bars, the slowest at the bottom."""
    ways = document["columns"][str(PICTURED)]["ways"]
    rows = sorted((row for row in ROWS if row.key in ways), key=lambda row: float(ways[row.key]["images_s"]))
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.35 * len(rows)), layout="constrained")
    bars = axes.barh(
        [row.name for row in rows],
        [ways[row.key]["images_s"] for row in rows],
        color=["#2a7f62" if row.key in OURS else "#b9c0c7" for row in rows],
    )
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    cores = document["columns"][str(PICTURED)]["machine"]["cores"]
    axes.set_title(f"images a second, from the command to all features saved, {cores} cores", loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False, left=False)
    axes.margins(x=0.1)
    with plt.rc_context({"svg.hashsalt": "emrlab"}):
        figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _own(document: dict[str, Any]) -> str:
    """What a reader has to know of the rows with another decoding, where there are any."""
    if not any(key.endswith("-own") for column in document["columns"].values() for key in column["ways"]):
        return ""
    return (
        'With "its own decoding" they are written as their guides say: the engine decodes and resizes, a class holds '
        "the model, here in ONNX Runtime. Their JPEG decoders round otherwise, so these features are near emrlab's: "
        f"cosine {document['cosine']:g} at least. "
    )


def _columns(document: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {images: document["columns"][str(images)] for images in sorted(map(int, document["columns"]))}


def _has(column: dict[str, Any], key: str) -> bool:
    return key in column["ways"] or key in column["left_out_minutes"]


def _cell(column: dict[str, Any], key: str) -> str:
    if key in column["left_out_minutes"]:
        return f"left out: {column['left_out_minutes'][key]:,.0f} min"
    way = column["ways"].get(key)
    if way is None:
        return ""
    return f"{way['images_s']:,.0f}" + ("" if key in OURS else f" ({way['ratio']:.2f})")


def _goals(row: Row, columns: dict[int, dict[str, Any]]) -> str:
    """The goals, each with whether it was missed, where that was measured."""
    words = []
    for images, goal in (row.at_least or {}).items():
        ratio = columns.get(images, {"ways": {}})["ways"].get(row.key, {"ratio": goal})["ratio"]
        words.append(f"≥ {goal:g} at {images:,}" + ("" if ratio >= goal else ": missed"))
    return ", ".join(words)
