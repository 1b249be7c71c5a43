"""The flags of a run that are the laptop's own, on every target: which model, and Spark settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from launch import model


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """`--model`, `--weights`, `--image-size` and `--conf`."""
    parser.add_argument(
        "--model", default="lite0", metavar="MODEL", help=f"{', '.join(model.NAMES)} or FILE.keras (lite0)"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of efficientnetb0 or vgg16, for want of internet"
    )
    parser.add_argument(
        "--image-size",
        type=_image_size,
        default=224,
        metavar="N",
        help="edge in pixels that images are brought to (224)",
    )
    parser.add_argument(
        "--conf",
        type=_conf,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a Spark setting in place of the target's own; may be repeated",
    )


def _conf(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.startswith("spark."):
        raise argparse.ArgumentTypeError(f"{text!r} is no Spark setting; write spark.executor.memory=4g")
    return key, value


def _image_size(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is no edge in pixels; give a whole number from 8 to 4096")
    return int(text)
