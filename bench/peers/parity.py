"""Whether another way did the same job: its features beside ours, photograph by photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PARITY = 1e-3  # of the features' scale: otherwise it is not the same job
COSINE = 0.99  # at least, where the decoding is another's


@dataclass(frozen=True)
class Features:
    """Of n photographs: their paths, sorted, and features float32 (n, d) in that order."""

    paths: NDArray[Any]
    rows: NDArray[np.float32]


def read(folder: Path, photographs: Path) -> Features:
    """The features in `folder` by the path below `photographs`, whatever a way calls the file."""
    table = pq.read_table(folder, columns=["path", "features"])
    paths = np.array([path.rpartition(f"{photographs}/")[2] for path in table["path"].to_pylist()])
    rows = _matrix(table["features"])
    order = np.argsort(paths)
    return Features(paths[order], rows[order])


def check(theirs: Features, ours: Features, *, name: str, near: bool) -> None:
    """Hold a way's features against ours: equal to PARITY of their scale, or `near`, by COSINE.

    Raises:
        RuntimeError: it did another job.
    """
    if not np.array_equal(theirs.paths, ours.paths):
        raise RuntimeError(f"{name} has features of {len(theirs.paths)} photographs, not of the same {len(ours.paths)}")
    if near:
        cosine = float(np.min(cosines(theirs.rows, ours.rows)))
        if not cosine >= COSINE:
            raise RuntimeError(f"{name}'s features point elsewhere: cosine {cosine:.3f}, below {COSINE}")
        return
    off = float(np.max(np.abs(theirs.rows - ours.rows)) / np.max(np.abs(ours.rows)))
    if not off <= PARITY:
        raise RuntimeError(f"{name}'s features are off by {off:.1e} of their scale, above {PARITY}")


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine, float32 (n,), of each row with the same row of the other, both (n, d)."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: NDArray[np.float32] = np.einsum("nd,nd->n", one, other) / lengths
    return result


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Lists of one length, or an engine's own tensors of one shape, as a (n, d) matrix."""
    array = column.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    while isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        array = array.flatten()
    return np.asarray(array.to_numpy(), np.float32).reshape(len(column), -1)
