"""Tables as CSV files that a spreadsheet opens, and runs nothing of."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import results, store

READERS = 8  # files of predictions in memory, at most
# What a spreadsheet takes for a formula, however many quotes of ours come before it (OWASP, "CSV Injection").
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def write_csv(predictions: str, target: str) -> int:
    """The predictions as one UTF-8 CSV file that a spreadsheet opens, file by file through the disk; returns the rows.

    Raises:
        STORE_ERRORS: it cannot be written.
    """
    rows = 0
    with tempfile.TemporaryFile() as file:
        file.write("\ufeff".encode())  # tells Excel that the accents are UTF-8
        for block in _blocks(predictions):
            rows += block.count
            file.write(block.text.encode())
        store.write(target, file)
    return rows


def harmless(cell: object) -> object:
    """A text that a spreadsheet would run as a formula, `=1+1`, gets a `'` before it; so does one that looks like what
    has got one, `'=1+1`, so that whoever takes one `'` away from both reads what was meant."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _may_run(column: pa.Array) -> bool:
    """Whether some cell would be run: told of all at once, as few sets have any."""
    if not pa.types.is_string(column.type):
        return False
    return bool(pc.any(pc.match_substring_regex(column, f"^{_FORMULA.pattern}")).as_py())


@dataclass(frozen=True)
class _Block:
    text: str
    count: int


def _blocks(predictions: str) -> Iterator[_Block]:
    header = results.PREDICTIONS_SCHEMA.names
    sink = io.StringIO()
    csv.writer(sink).writerow(header)
    yield _Block(sink.getvalue(), 0)
    for table in _tables([f"{predictions}/{name}" for name in results.parquet_files(predictions)]):
        for batch in table.to_batches(max_chunksize=10_000):
            sink = io.StringIO()
            columns = [
                list(map(harmless, column.to_pylist())) if _may_run(column) else column.to_pylist()
                for column in batch.columns
            ]
            csv.writer(sink).writerows(zip(*columns, strict=True))
            yield _Block(sink.getvalue(), batch.num_rows)


def _tables(files: list[str]) -> Iterator[pa.Table]:
    """In their order, READERS at a time: on S3 each takes as long to come as many to be written."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(files), READERS):
            yield from pool.map(results.read_table, files[start : start + READERS])
