"""Which features of earlier runs still hold: those of images that are listed with the same etag, by the same model."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import comparison, results, store
from pipeline.comparison import KeptImages
from pipeline.names import escape

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class CachedFeatures:
    """What is left of earlier runs.

    Attributes:
        count: images whose features are known.
        published: names of the files below the output's features/ that hold as they are.
        prepared: names of those that another run left in preparation.
        todo: URIs of the parquet files that list the images that are not known (LISTING_SCHEMA).
        replaced: names of the files in preparation whose good rows are in others; to be removed once `todo`, which is
            worked out from them, has been used.
    """

    count: int
    published: Sequence[str]
    prepared: Sequence[str]
    todo: Sequence[str]
    replaced: Sequence[str]


def look_up(
    output: str,
    labels: Sequence[str],
    *,
    listing: str,
    unknown: str,
    published: Collection[str],
    key: str,
    prefix: str,
) -> CachedFeatures:
    """Sort the feature files of earlier runs: kept as they are, written anew without what is gone, or removed.

    A file is kept where all its rows are listed with the same etag and their label and label_index are today's: that
    of an image in the input itself is the input's name, which may change. The others' good rows go to new files among
    the results in preparation.

    Args:
        output: the output location.
        labels: the classes, in the order of label_index.
        listing: location of the complete listing.
        unknown: location for the listing of what is not known.
        published: names below the output's features/ of the files that runs recorded.
        key: begins the name of every file whose features this model and decoder made.
        prefix: begins the name of every file that this run writes.
    """
    place, prepared = f"{output}/{results.FEATURES}", f"{results.staging(output)}/{results.FEATURES}"
    places = dict.fromkeys(published, place) | dict.fromkeys(results.parquet_files(prepared), prepared)
    foreign = [name for name, folder in places.items() if folder == prepared and not name.startswith(key)]
    store.delete(prepared, foreign)
    # In the order of their names: a worker that outlived its killed driver may have left an image twice, and the first
    # file has it.
    places = {name: folder for name, folder in sorted(places.items()) if name.startswith(key)}
    rows_by = results.rows_of_whole([f"{folder}/{name}" for name, folder in places.items()])
    for name, folder in list(places.items()):
        if (uri := f"{folder}/{name}") not in rows_by:
            log.warning("%s is damaged: its images are extracted anew", escape(uri))
            del places[name]
    if not places:
        return CachedFeatures(0, [], [], _files(listing), [])

    names, files, rows_of, listed = list(places), list(rows_by), list(rows_by.values()), _files(listing)
    rows = results.count_rows(listed) + sum(rows_of)
    compared = comparison.compare(files, labels, listing=listed, unknown=unknown, rows=rows)
    as_is = {file for file, kept in compared.kept.items() if kept.is_current and kept.rows == rows_of[file]}
    if partly := compared.kept.keys() - as_is:
        old = {file: files[file] for file in partly}
        rewrite = partial(_rewrite, files=old, target=prepared, prefix=prefix, labels=list(labels))
        compared.images_of(partly).foreach(rewrite)
    whole = {names[file] for file in as_is}
    return CachedFeatures(
        sum(kept.rows for kept in compared.kept.values()),
        sorted(name for name in whole if places[name] == place),
        sorted(name for name in whole if places[name] == prepared),
        _files(unknown),
        [name for name, folder in places.items() if folder == prepared and name not in whole],
    )


def _files(location: str) -> list[str]:
    return [f"{location}/{name}" for name in results.parquet_files(location)]


def feature_files(output: str, cached: CachedFeatures, *, published: Mapping[str, int], prefix: str) -> dict[str, int]:
    """URI and size in bytes of the files of a run: those that hold and its own, not what else comes there.

    Args:
        output: the output location.
        cached: what `look_up` found to hold.
        published: name below the output's features/ and size of the files that runs recorded.
        prefix: begins the name of every file that this run wrote.
    """
    prepared, left = f"{results.staging(output)}/{results.FEATURES}", set(cached.prepared)
    kept = {f"{output}/{results.FEATURES}/{name}": published[name] for name in cached.published}
    return kept | {
        f"{prepared}/{name}": size
        for name, size in sorted(store.sizes(prepared))
        if name in left or name.startswith(prefix)
    }


def _rewrite(images: KeptImages, *, files: Mapping[int, str], target: str, prefix: str, labels: list[str]) -> None:
    """Write the rows of these images anew, with their labels of today."""
    uri, today = files[images.file], images.labels()
    table = results.read_table(uri)
    table = table.filter(pc.is_in(table["path"], pa.array(today, pa.string())))
    label = pa.array([today[path] for path in table["path"].to_pylist()], pa.string())
    index = pc.index_in(label, pa.array(labels, pa.string())).cast(pa.int32())
    for name, column in (("label", label), ("label_index", index)):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    digest = blake2b(uri.rpartition("/")[2].encode(), digest_size=6).hexdigest()
    results.write_table(f"{target}/{prefix}{digest}.parquet", table)
