"""The image pipeline as a job to launch: what a user declares of it, and the model file that it needs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from base.paths import CACHE, SAMPLE
from launch import model
from launch.model import BuiltModel
from pipeline.settings import Settings, from_namespace

NOT_BUILT = "."  # the model's place in the settings until its file is built


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


def build_model(job: ImageJob) -> BuiltModel:
    """Build the model's LiteRT file, where the cache has not got it, compared on two views a class of the sample.

    Raises:
        ModelError: the model cannot be built, or differs from its source.
    """
    return model.build(
        job.model,
        weights=job.weights,
        image_size=job.image_size,
        cache=CACHE / "models",
        images=sorted(SAMPLE.glob("*/0_[01].jpg")),
    )
