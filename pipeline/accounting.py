"""Nothing is lost: every listed image has features or a reason, and not too many have a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from pipeline import results
from pipeline.images import ListingSummary
from pipeline.settings import RunError, Settings, UsageError

FIRST = 100  # rejections that are held in memory, for the report


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """One image that gave no features; `stage` is where it failed, `size` is in bytes."""

    path: str
    size: int
    stage: str
    error: str
    message: str


@dataclass(frozen=True)
class Rejections:
    """How many were rejected, how many of them because their bytes could not be had, and the first 100."""

    total: int
    unreachable: int
    first: Sequence[Rejection]


def read_rejections(rejected: str) -> Rejections:
    """Count what was written to the folder of rejected images, file by file."""
    total, unreachable, first = 0, 0, list[Rejection]()
    for name in results.parquet_files(rejected):
        table = results.read_table(f"{rejected}/{name}")
        total += table.num_rows
        unreachable += pc.sum(pc.equal(table["stage"], "fetch")).as_py() or 0
        rows = table.drop_columns(["etag"]).slice(0, FIRST - len(first)).to_pylist()
        first += [Rejection(**row) for row in rows]
    return Rejections(total, unreachable, first)


def count_images(
    summary: ListingSummary, *, features: int, known_images: int, rejections: Rejections
) -> dict[str, int]:
    """The counts of a run, by what was written, not by what was reported.

    Args:
        summary: of the listing.
        features: images with features.
        known_images: those of them whose features an earlier run made.
        rejections: the images without.

    Raises:
        RunError: they do not add up to what was listed.
    """
    listed = summary.listed
    if listed != features + rejections.total:
        raise RunError(
            f"{listed} images were listed, but {features} have features and {rejections.total} are rejected; run again"
        )
    return {
        "listed": listed,
        "extracted": features - known_images,
        "known": known_images,
        "rejected": rejections.total,
        "unreachable": rejections.unreachable,
        "skipped": summary.skipped_total,
    }


def check_rejected(settings: Settings, *, counts: Mapping[str, int], rejections: Rejections, rejected: str) -> None:
    """Refuse to go on with too many images rejected; all of them stand in the folder `rejected`.

    Raises:
        UsageError: no image gives features.
        RunError: more than the limit are rejected, or some could not be fetched and none is left.
    """
    limit = settings.rejected_limit(counts["listed"])
    if not counts["rejected"]:
        return
    first = rejections.first[0]
    which = f"first {first.path}: {first.message}; all stand in {rejected}"
    if counts["rejected"] == counts["listed"]:
        message = f"--input {settings.input}: none of {counts['listed']} images gives features, {which}"
        # What could not be fetched may be there the next time: that is no mistake of the user.
        raise RunError(f"{message}; run again") if counts["unreachable"] else UsageError(message)
    if counts["rejected"] > limit:
        raise RunError(
            f"{counts['rejected']} of {counts['listed']} images are rejected, over the limit of {limit} "
            f"(--max-rejected), {which}, the features of the others are kept for the next run"
        )
