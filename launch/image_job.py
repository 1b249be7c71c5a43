"""The image pipeline as a job to launch: what a user's flags declare of it, and the model file that it needs."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import UsageError
from base.paths import CACHE, ROOT, SAMPLE
from launch import targets
from launch.job import ImageWork, Job, Made, Output, is_remote
from pipeline.settings import Settings, from_namespace

PACKAGE = ROOT / "pipeline"
ENTRY = PACKAGE / "main.py"
NOT_BUILT = "."  # the model's place in the settings until its file is built
REPORT, RUN = "report.html", "run.json"
RESULTS = (REPORT, "predictions.csv", "metrics.json", RUN)  # what a person reads; the tables stay where they are


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """One run of the image pipeline, wherever it runs.

    Attributes:
        settings: of the job; locations may be folders of this machine, and the model's place is not known yet.
        model: a name of `model.NAMES`, or a .keras file.
        weights: file of the model's weights, or None for its own.
        image_size: edge in pixels that images are brought to.
    """

    settings: Settings
    model: str
    weights: Path | None
    image_size: int


def from_flags(parsed: argparse.Namespace, *, live: bool) -> ImageJob:
    """The job that the flags of a run declare; with `live`, its progress is one line that is redrawn.

    Raises:
        UsageError: a location cannot be read or written as one, or input and output overlap.
    """
    settings = from_namespace(argparse.Namespace(**{**vars(parsed), "model": NOT_BUILT, "live": live}))
    return ImageJob(settings=settings, model=parsed.model, weights=parsed.weights, image_size=parsed.image_size)


def declare(images: ImageJob) -> Job:
    """The same as a job like any other."""
    settings = images.settings
    placed = replace(settings, input="{input}", output="{output}", model="{model}")
    output = Output(
        location=settings.output,
        fetched=(REPORT,) if is_remote(settings.output) else RESULTS,
        page=REPORT,
    )
    name = f"{images.model}-{images.image_size}.tflite"
    return Job(
        name="emrlab",
        entry=ENTRY,
        modules=(PACKAGE,),
        args=tuple(placed.to_args()),
        inputs={"input": settings.input},
        outputs={"output": output},
        made={"model": Made(name=name, folder="models", make=lambda: _model(images))},
        settings=targets.IMAGES,
        check=lambda: _check(images),
        work=ImageWork(input="input", model=images.model, image_size=images.image_size),
        record=RUN,
        verbose=settings.verbose,
        live=settings.live,
    )


def _check(images: ImageJob) -> None:
    """See that the folder for results can take those of a run far from here, before anything is sent.

    Raises:
        UsageError: it holds the tables of a run on this machine, or files that are not a run's, or were changed since,
            and would be replaced.
    """
    target = images.settings.output
    if is_remote(target):
        return
    if Path(target, "features").exists():
        raise UsageError(f"--output {target} holds the results of a run on this machine; choose another folder")
    if theirs := _strange(Path(target)):
        raise UsageError(
            f"--output {target} holds a {theirs} that no run of emrlab left so; move it away, or choose another folder"
        )


def _model(images: ImageJob) -> Path:
    """Build the model's LiteRT file, where the cache has not got it, compared on two views a class of the sample.

    Raises:
        ModelError: the model cannot be built, or differs from its source.
    """
    from launch import model  # noqa: PLC0415 - numpy and more, for who has images

    built = model.build(
        images.model,
        weights=images.weights,
        image_size=images.image_size,
        cache=CACHE / "models",
        images=sorted(SAMPLE.glob("*/0_[01].jpg")),
    )
    return built.path


def _strange(folder: Path) -> str | None:
    """A file that a run's results would replace though no run left it there, or that has another size by now."""
    sizes = {name: _size(folder / name) for name in RESULTS if os.path.lexists(folder / name)}
    try:
        known = {**json.loads((folder / RUN).read_text())["files"], RUN: sizes[RUN]} if sizes.get(RUN) else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        known = {}
    return next((name for name, size in sizes.items() if size is None or known.get(name) != size), None)


def _size(path: Path) -> int | None:
    """Of a file in bytes; None of a link, which no run leaves."""
    return None if path.is_symlink() else path.lstat().st_size
