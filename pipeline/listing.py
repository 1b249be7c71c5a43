"""Lists the input into parquet files of the run's workspace, a block at a time, and reads slices of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from pipeline import images, results, shards, store
from pipeline.images import ImageRef, ListingSummary
from pipeline.settings import UsageError
from pipeline.split import Splitter

FILE_ROWS, BLOCK_ROWS = 50_000, 2_000  # rows as Python has them take ten times the memory of Arrow's


@dataclass(frozen=True)
class ListingSlice:
    """`rows` rows of the listing file `uri`, from the row `first` on."""

    uri: str
    first: int
    rows: int


def begin(source: str, summary: ListingSummary) -> Iterator[ImageRef]:
    """The images below the location `source`, the first already come: a wrong one is refused before Spark starts.

    Raises:
        UsageError: the location cannot be listed, or holds no image.
    """
    try:
        exists = images.exists(source)
    except OSError as error:  # a folder above it is closed
        raise UsageError(f"--input {source}: {store.explain(error)}") from error
    if not exists:
        raise UsageError(f"--input {source}: no such folder; correct the path")
    listing = _list(source, summary)
    first = next(listing, None)
    if first is None:
        others = f"no image but {summary.skipped_total} other files, like {next(iter(summary.skipped), '')}"
        raise UsageError(
            f"--input {source} holds {others if summary.skipped else 'no file'}; it wants class folders of "
            f"{', '.join(images.SUFFIXES)}, or {shards.SUFFIX} archives of them"
        )
    return itertools.chain([first], listing)


def write(listing: Iterator[ImageRef], target: str, splitter: Splitter) -> None:
    """Stream the listing into parquet files (LISTING_SCHEMA) at `target`; the splitter learns of what can be read.

    Raises:
        UsageError: the input cannot be listed to its end.
        STORE_ERRORS: a file cannot be written.
    """
    blocks = _blocks(listing, splitter)
    for number in itertools.count():
        of_file = list(itertools.islice(blocks, FILE_ROWS // BLOCK_ROWS))
        if not of_file:
            break
        results.write_table(f"{target}/{number:05d}.parquet", pa.Table.from_batches(of_file))


def _blocks(listing: Iterator[ImageRef], splitter: Splitter) -> Iterator[pa.RecordBatch]:
    """The listing, BLOCK_ROWS at a time; the splitter learns of what can be read."""
    while rows := [vars(image) for image in itertools.islice(listing, BLOCK_ROWS)]:
        for row in rows:
            if row["error"] is None:
                splitter.learn(row["path"], row["label"])
        yield pa.RecordBatch.from_pylist(rows, schema=results.LISTING_SCHEMA)


def cut(files: Sequence[str], *, most: int, fewest: int, slots: int) -> list[ListingSlice]:
    """All that the listing files (URIs) hold, in their order, in slices, which tasks take from the first on.

    None takes more than half a slot's share of what is left, so that all slots end together: Hummel, Schonberg, Flynn,
    "Factoring: a method for scheduling parallel loops" (1992).

    Args:
        files: of the listing.
        most: rows of a slice, at most.
        fewest: and at least, but for a file's last.
        slots: task slots of the cluster.

    Raises:
        STORE_ERRORS: a file cannot be read.
    """
    rows_of = results.rows_of(files)
    parts, left = list[ListingSlice](), sum(rows_of)
    for file, total in zip(files, rows_of, strict=True):
        first = 0
        while first < total:
            rows = min(total - first, most, max(left // (2 * slots), fewest))
            parts.append(ListingSlice(file, first, rows))
            first, left = first + rows, left - rows
    return parts


def read(part: ListingSlice) -> list[ImageRef]:
    """The images of a slice.

    Raises:
        STORE_ERRORS: its file cannot be read.
    """
    return [ImageRef(**row) for row in _read_file(part.uri).slice(part.first, part.rows).to_pylist()]


@lru_cache(maxsize=1)
def _read_file(uri: str) -> pa.Table:
    """Kept in the worker: its next slice is of the same file, as a rule."""
    return results.read_table(uri)


def _list(source: str, summary: ListingSummary) -> Iterator[ImageRef]:
    try:
        yield from images.list_images(source, summary)
    except store.STORE_ERRORS as error:
        raise UsageError(f"--input {source}: {store.explain(error)}") from error
