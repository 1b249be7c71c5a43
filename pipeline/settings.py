"""What one run is asked to do: the settings, their command line form and the words for what is wrong with them."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

CLASSIFIERS = ("lda", "logistic")
REJECTED_SHARE = 0.01
REJECTED_FLOOR = 10
# Whoever submits the job says why a Spark setting is as it is, for the report, in a setting of its own beside it.
REASON = "spark.reason."


class UsageError(Exception):
    """A mistake of the user: one line with the flag, the value and the fix. Exit code 2."""


class RunError(Exception):
    """The run failed: one line with the cause. What was extracted is kept for the next run. Exit code 1."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage text above it."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's own words."""
        raise UsageError(f"{message}; --help lists the options")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Locations are `s3://bucket/prefix` or an absolute path, without a slash at the end.

    Attributes:
        input: folder or prefix of class folders.
        output: where the results go; nothing outside it is written.
        model: LiteRT file (uint8 RGB in, float32 features out).
        components: number of principal components k, or None when `variance` decides.
        variance: share of the variance to keep, in (0, 1], when `components` is None.
        classifier: `lda`, by sums, or `logistic`, by Spark ML.
        max_rejected: `N` images, `P%` of the listed, or None for 1 % and at least 10.
        seed: of the split into training and test images.
        verbose: keep Spark's own messages.
        live: redraw one line of progress, for a terminal, instead of a line every ten seconds.
    """

    input: str
    output: str
    model: str
    components: int | None = None
    variance: float = 0.95
    classifier: str = "lda"
    max_rejected: str | None = None
    seed: int = 42
    verbose: bool = False
    live: bool = False

    def rejected_limit(self, listed: int) -> int:
        """How many of `listed` images may be rejected before the run fails."""
        if self.max_rejected is None:
            return max(REJECTED_FLOOR, math.floor(REJECTED_SHARE * listed))
        if self.max_rejected.endswith("%"):
            return math.floor(float(self.max_rejected[:-1]) / 100 * listed)
        return int(self.max_rejected)

    def to_args(self) -> list[str]:
        """The command line that `from_args` reads back to an equal object."""
        args = ["--input", self.input, "--output", self.output, "--model", self.model, "--seed", str(self.seed)]
        if self.components is None:
            args += ["--variance", repr(self.variance)]
        else:
            args += ["--components", str(self.components)]
        args += ["--classifier", self.classifier]
        if self.max_rejected is not None:
            args += ["--max-rejected", self.max_rejected]
        return args + ["--verbose"] * self.verbose + ["--live"] * self.live


def add_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, required: bool = True) -> None:
    """The flags that a run has on every target; `--model` is the caller's, for its meaning differs.

    Args:
        parser: that gets them.
        required: whether it asks for input and output itself.
    """
    parser.add_argument(
        "--input",
        required=required,
        metavar="URI",
        help="folder or s3:// prefix of class folders, or of tar archives of them",
    )
    parser.add_argument("--output", required=required, metavar="URI", help="folder or s3:// prefix for the results")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--components", type=_components, metavar="K", help="number of principal components to keep")
    kept.add_argument(
        "--variance", type=_variance, default=0.95, metavar="SHARE", help="share of the variance to keep (0.95)"
    )
    parser.add_argument(
        "--classifier",
        choices=CLASSIFIERS,
        default="lda",
        help="linear discriminant analysis, or Spark ML's logistic regression (lda)",
    )
    parser.add_argument(
        "--max-rejected",
        type=_max_rejected,
        metavar="N|P%",
        help="rejected images that fail the run: a number or a share of the listed (1%%, at least 10)",
    )
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="seed of the training/test split (42)")
    parser.add_argument("--verbose", action="store_true", help="show Spark's own messages")


def from_args(args: Sequence[str]) -> Settings:
    """Read the job's command line.

    Raises:
        UsageError: a flag is missing, unknown or has a value that cannot be.
    """
    parser = Parser(prog="pipeline", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    parser.add_argument("--model", required=True, metavar="URI", help="LiteRT file that turns RGB into features")
    # Spark puts a pipe between the job and the terminal, so that only who submits can tell whether there is one.
    parser.add_argument("--live", action="store_true", help="redraw one line of progress, for a terminal")
    return from_namespace(parser.parse_args(args))


def from_namespace(parsed: argparse.Namespace) -> Settings:
    """Settings out of parsed flags: locations made absolute, and held against each other.

    Raises:
        UsageError: a location cannot be read or written as one, or input and output overlap.
    """
    source, target = location(parsed.input, flag="--input"), location(parsed.output, flag="--output")
    if source == target or target.startswith(source + "/"):
        raise UsageError(
            f"--output {target} lies inside --input {source}: its files would be listed; choose a place beside it"
        )
    if source.startswith(target + "/"):
        raise UsageError(
            f"--input {source} lies inside --output {target}: results would replace it; choose a place beside it"
        )
    if pattern := re.search(r"[*?\[\]{}]", target):
        raise UsageError(f"--output {target} has a {pattern.group()!r}, which Spark reads as a pattern; rename it")
    return Settings(
        input=source,
        output=target,
        model=location(parsed.model, flag="--model"),
        components=parsed.components,
        variance=parsed.variance,
        classifier=parsed.classifier,
        max_rejected=parsed.max_rejected,
        seed=parsed.seed,
        verbose=parsed.verbose,
        live=parsed.live,
    )


def location(text: str, *, flag: str) -> str:
    """`s3://bucket/prefix`, or the absolute path of a plain path or a file: URI; no slash at the end.

    Raises:
        UsageError: the scheme is another one, the bucket is missing, or there is no such place.
    """
    try:
        parts = urlsplit(text)
    except ValueError as error:  # brackets, as around what a page leaves to be filled in
        raise UsageError(f"{flag} {text} is no address ({error}); write s3://bucket/prefix or a folder") from error
    if parts.scheme == "s3":
        if not parts.netloc:
            raise UsageError(f"{flag} {text}: no bucket; write s3://bucket/prefix")
        if "@" in parts.netloc:
            raise UsageError(
                f"{flag} has a key in its address, which others would read; give it by the AWS_* variables"
            )
        return text.rstrip("/")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{flag} {text} is on another machine, {parts.netloc}; write file:///folder or a folder")
        text = unquote(parts.path)
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise UsageError(f"{flag} {text}: {parts.scheme}:// is not served; write s3://bucket/prefix or a folder")
    if not text:
        raise UsageError(f"{flag} is empty; write s3://bucket/prefix or a folder")
    try:
        return str(Path(text).expanduser().resolve())
    except RuntimeError as error:
        words = (
            f"no user of that name has a home here; write ./{text} for a folder that is called so"
            if text.startswith("~")
            else "a link that leads to itself; correct it"
        )
        raise UsageError(f"{flag} {text}: {words}") from error


def check_components(components: int | None, *, images: int, features: int) -> None:
    """Refuse more components than the data can have.

    Raises:
        UsageError: k > min(n, d).
    """
    if components is not None and components > min(images, features):
        raise UsageError(
            f"--components {components}: {images} images of {features} features have at most "
            f"{min(images, features)}; give that or fewer, or --variance"
        )


def _components(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of components; give a whole number from 1")
    return int(text)


def _variance(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share; give a number over 0 and up to 1, like 0.95")
    return share


def _max_rejected(text: str) -> str:
    if not re.fullmatch(r"[0-9]+|[0-9]+(\.[0-9]+)?%", text) or (text.endswith("%") and float(text[:-1]) > 100):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images nor a share; give 25 or 2.5%")
    return text
