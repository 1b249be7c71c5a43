"""The command line of a run on every target: which job, its arguments, Spark settings, and for images which model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from base import command_line
from base.errors import UsageError
from launch.model import NAMES
from pipeline import settings

DECLARATION = "emrlab.toml"  # a job's, in its folder


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line; what stands behind its first `--` is the job's own, `behind`. The folder that declares a job
    is JOB, where none is named and no flag of the image pipeline given.

    Raises:
        UsageError: a word cannot be, or there is a `--` and no JOB.
    """
    words, behind = list(argv), list[str]()
    is_split = "--" in words
    if is_split:
        place = words.index("--")
        words, behind = words[:place], words[place + 1 :]
    parsed, unknown = parser.parse_known_args(words)
    if unknown and getattr(parsed, "job", None) and not given_of_images(parsed):
        raise UsageError(f"{unknown[0]} is none of this command's; the arguments of JOB {parsed.job} follow behind --")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "job" in parsed and parsed.job is None and not given_of_images(parsed) and Path(DECLARATION).is_file():
        parsed.job = "."
    if is_split and getattr(parsed, "job", None) is None:
        raise UsageError("behind -- stand the arguments of a JOB, and none is named; --help lists the options")
    parsed.behind = tuple(behind)
    return parsed


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Which job: JOB, or the flags of the image pipeline; and Spark settings."""
    parser.add_argument(
        "job",
        nargs="?",
        metavar="JOB",
        help="a .py, a .jar, a folder with an emrlab.toml (this one, if it has one), or that file; its own arguments "
        "follow behind --",
    )
    parser.add_argument("--class", dest="main_class", metavar="NAME", help="main class of a .jar (its manifest's)")
    add_conf_argument(parser)
    images = parser.add_argument_group("the image pipeline, where no JOB is named")
    _add_image_arguments(images)


def add_conf_argument(parser: argparse.ArgumentParser) -> None:
    """`--conf`."""
    parser.add_argument(
        "--conf",
        type=_conf,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a Spark setting in place of the target's own; may be repeated",
    )


def add_notebook_arguments(parser: argparse.ArgumentParser) -> None:
    """What the notebook shows: the flags of the image pipeline; Spark settings; the folder, or the page."""
    _add_image_arguments(parser, required=True)
    add_conf_argument(parser)
    parser.add_argument(
        "--notebooks",
        type=command_line.path,
        metavar="FOLDER",
        help="work in this folder, which gets the notebook where it has none (notebooks/)",
    )
    parser.add_argument(
        "--html", type=command_line.path, metavar="FILE", help="run the notebook and write it as a page, no Jupyter"
    )


def given_of_images(parsed: argparse.Namespace) -> list[str]:
    """The flags of the image pipeline that a command line has, other than by their defaults."""
    probe = argparse.ArgumentParser()
    _add_image_arguments(probe)
    defaults = vars(probe.parse_args([]))
    return [
        f"--{name.replace('_', '-')}"
        for name, default in defaults.items()
        if name != "verbose" and getattr(parsed, name) != default
    ]


def _add_image_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, required: bool = False) -> None:
    settings.add_arguments(parser, required=required)
    parser.add_argument("--model", default="lite0", metavar="MODEL", help=f"{', '.join(NAMES)} or FILE.keras (lite0)")
    parser.add_argument(
        "--weights",
        type=command_line.path,
        metavar="FILE",
        help="weights of efficientnetb0 or vgg16, for want of internet",
    )
    parser.add_argument(
        "--image-size",
        type=_image_size,
        default=224,
        metavar="N",
        help="edge in pixels that images are brought to (224)",
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
