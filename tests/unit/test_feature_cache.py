"""Which features of earlier runs hold, as the driver compares and as the workers do, with the same answers."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import comparison, feature_cache, results, store

KEY, PREFIX = "0" * 16, "0" * 16 + "-new-"
LABELS = ["Kiwi", "Lime", "Plum"]


# Rows that one process compares: all of them, so that the driver does; or a few, in as many buckets.
@pytest.fixture(params=[1, 5, comparison.MOST_ROWS], ids=["many buckets", "some buckets", "driver"])
def look_up(request, spark, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_ROWS", request.param)

    def call(listed, *, published=()):
        rows = [
            {"path": path, "size": 1, "etag": etag, "label": path.partition("/")[0], "error": error, "message": error}
            for path, etag, error in listed
        ]
        for number in range(0, len(rows), 3):
            table = pa.Table.from_pylist(rows[number : number + 3], schema=results.LISTING_SCHEMA)
            results.write_table(f"{tmp_path}/workspace/listing/{number:05d}.parquet", table)
        return feature_cache.look_up(
            str(tmp_path),
            LABELS,
            listing=f"{tmp_path}/workspace/listing",
            unknown=f"{tmp_path}/workspace/unknown",
            published=published,
            key=KEY,
            prefix=PREFIX,
        )

    return call


def write(folder, name, images, *, labels=LABELS):
    rows = [
        {
            "path": path,
            "label": label,
            "label_index": labels.index(label),
            "etag": etag,
            "features": [float(number)] * 4,
        }
        for number, (path, etag, label) in enumerate(images)
    ]
    results.write_table(f"{folder}/{KEY}-{name}.parquet", pa.Table.from_pylist(rows, schema=results.FEATURES_SCHEMA))
    return f"{KEY}-{name}.parquet"


def todo(cached):
    return sorted(path for file in cached.todo for path in results.read_table(file)["path"].to_pylist())


def rewritten(tmp_path):
    """Path, label, label_index and first feature of what was written anew."""
    folder = f"{results.staging(str(tmp_path))}/features"
    tables = [results.read_table(f"{folder}/{name}") for name in results.parquet_files(folder) if PREFIX in name]
    return sorted(
        (row["path"], row["label"], row["label_index"], row["features"][0]) for of in tables for row in of.to_pylist()
    )


def test_every_fate_of_an_image(look_up, tmp_path):
    place, prepared = tmp_path / "features", f"{results.staging(str(tmp_path))}/features"
    whole = write(place, "whole", [("Kiwi/0.jpg", "a", "Kiwi"), ("Lime/0.jpg", "b", "Lime")])
    partly = write(place, "partly", [("Kiwi/gone.jpg", "c", "Kiwi"), ("Kiwi/changed.jpg", "d", "Kiwi"),
                                     ("Plum/kept.jpg", "e", "Plum")])  # fmt: skip
    moved = write(place, "moved", [("Plum/0.jpg", "f", "Plum")], labels=["Plum"])
    named = write(place, "named", [("Lime/1.jpg", "g", "Kiwi")])
    lost = write(place, "lost", [("Old/0.jpg", "h", "Kiwi")])
    left = write(prepared, "left", [("Kiwi/left.jpg", "i", "Kiwi")])
    twice = write(prepared, "z-twice", [("Kiwi/0.jpg", "a", "Kiwi"), ("Lime/twice.jpg", "j", "Lime")])
    store.write(f"{prepared}/1111-other.parquet", b"of another model")
    cached = look_up(
        [("Kiwi/0.jpg", "a", None), ("Lime/0.jpg", "b", None), ("Kiwi/changed.jpg", "new", None),
         ("Plum/kept.jpg", "e", None), ("Plum/0.jpg", "f", None), ("Lime/1.jpg", "g", None),
         ("Kiwi/left.jpg", "i", None), ("Lime/twice.jpg", "j", None), ("Lime/bad.jpg", "", "NotFound"),
         ("Lime/renamed.jpg", "b", None)],
        published={whole, partly, moved, named, lost},
    )  # fmt: skip
    assert todo(cached) == ["Kiwi/changed.jpg", "Lime/bad.jpg", "Lime/renamed.jpg"]
    assert cached.count == 7
    assert (cached.published, cached.prepared, cached.replaced) == ([whole], [left], [twice])
    assert rewritten(tmp_path) == [
        ("Lime/1.jpg", "Lime", 1, 0.0),
        ("Lime/twice.jpg", "Lime", 1, 1.0),
        ("Plum/0.jpg", "Plum", 2, 0.0),
        ("Plum/kept.jpg", "Plum", 2, 2.0),
    ]
    assert not [name for name in results.parquet_files(prepared) if name.startswith("1111")]


def test_nothing_known(look_up):
    cached = look_up([("Kiwi/0.jpg", "a", None)])
    assert (cached.count, todo(cached)) == (0, ["Kiwi/0.jpg"])


def test_nothing_new(look_up, tmp_path):
    name = write(tmp_path / "features", "all", [("Kiwi/0.jpg", "a", "Kiwi")])
    cached = look_up([("Kiwi/0.jpg", "a", None)], published={name})
    assert (cached.count, list(cached.published), todo(cached)) == (1, [name], [])


def test_a_file_of_features_that_is_gone_is_an_error(look_up):
    with pytest.raises(store.STORE_ERRORS):
        look_up([("Kiwi/0.jpg", "a", None)], published={f"{KEY}-gone.parquet"})


def test_what_a_power_cut_left_damaged_is_extracted_anew(look_up, tmp_path):
    place, prepared = tmp_path / "features", tmp_path / "_incomplete" / "features"
    whole = write(place, "whole", [("Kiwi/0.jpg", "a", "Kiwi")])
    cut = write(place, "cut", [("Kiwi/1.jpg", "b", "Kiwi")])
    (place / cut).write_bytes((place / cut).read_bytes()[:-9])
    for number, damaged in enumerate([b"", b"PAR1" + bytes(99) + b"PAR1"], start=2):
        (prepared / write(prepared, f"damaged-{number}", [(f"Kiwi/{number}.jpg", "c", "Kiwi")])).write_bytes(damaged)
    cached = look_up([(f"Kiwi/{number}.jpg", etag, None) for number, etag in enumerate("abcc")], published={whole, cut})
    assert (cached.count, todo(cached)) == (1, ["Kiwi/1.jpg", "Kiwi/2.jpg", "Kiwi/3.jpg"])
    assert (cached.published, cached.prepared) == ([whole], [])


@pytest.mark.parametrize("contents", [1, 24])
def test_images_of_few_contents_are_spread_over_all_buckets(spark, tmp_path, monkeypatch, contents):
    monkeypatch.setattr(comparison, "MOST_ROWS", 100)
    images = [(f"Kiwi/{number}.jpg", f"of {number % contents}", "Kiwi") for number in range(600)]
    name, unknown = write(tmp_path / "features", "half", images[:300]), f"{tmp_path}/unknown"
    rows = [{"path": path, "size": 1, "etag": etag, "label": label} for path, etag, label in images]
    listing = f"{tmp_path}/listing/00000.parquet"
    results.write_table(listing, pa.Table.from_pylist(rows, schema=results.LISTING_SCHEMA))
    compared = comparison.compare([f"{tmp_path}/features/{name}"], LABELS, listing=[listing], unknown=unknown, rows=900)
    assert compared.kept == {0: comparison.Kept(300, is_current=True)}
    buckets = results.rows_of([f"{unknown}-unsorted/{name}" for name in results.parquet_files(f"{unknown}-unsorted")])
    assert (len(buckets), sum(buckets)) == (9, 300)
    assert max(buckets) < 2 * 300 / 9


def test_what_is_new_comes_in_the_order_of_its_names_and_places(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_ROWS", 3)
    name = write(tmp_path / "features", "known", [("Kiwi/1.jpg", "a", "Kiwi")])
    members = [("b.tar!Lime/z.jpg", 512), ("b.tar!Lime/a.jpg", 2048), ("b.tar!Kiwi/c.jpg", 4096)]
    rows = [
        {"path": path, "size": 1, "etag": etag, "label": "Lime", "offset": offset}
        for path, etag, offset in (
            ("Kiwi/0.jpg", "b", None), ("Kiwi/1.jpg", "a", None), ("Plum/0.jpg", "c", None), ("Plum/1.jpg", "d", None),
            *((path, "shard", offset) for path, offset in members),
        )
    ]  # fmt: skip
    listing, unknown = f"{tmp_path}/listing/00000.parquet", f"{tmp_path}/unknown"
    results.write_table(listing, pa.Table.from_pylist(rows, schema=results.LISTING_SCHEMA))
    comparison.compare([f"{tmp_path}/features/{name}"], LABELS, listing=[listing], unknown=unknown, rows=len(rows) + 1)
    new = [path for file in results.parquet_files(unknown)
           for path in results.read_table(f"{unknown}/{file}")["path"].to_pylist()]  # fmt: skip
    assert new == ["Kiwi/0.jpg", "Plum/0.jpg", "Plum/1.jpg", *(path for path, _ in members)]


def test_no_file_is_read_a_second_time(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_ROWS", 2)
    images = [(f"Kiwi/{number}.jpg", str(number), "Kiwi") for number in range(5)]
    files = [f"{tmp_path}/features/{write(tmp_path / 'features', str(number), [image])}"
             for number, image in enumerate(images)]  # fmt: skip
    rows = [{"path": path, "size": 1, "etag": etag, "label": label} for path, etag, label in images[1:]]
    listing = f"{tmp_path}/listing/00000.parquet"
    results.write_table(listing, pa.Table.from_pylist(rows, schema=results.LISTING_SCHEMA))
    compared = comparison.compare(files, LABELS, listing=[listing], unknown=f"{tmp_path}/unknown", rows=9)
    for file in [*files, listing]:
        Path(file).unlink()
    assert sorted(compared.kept) == [1, 2, 3, 4]
    assert {kept.file: kept.labels() for kept in compared.images_of({2, 4}).collect()} == {
        2: {"Kiwi/2.jpg": "Kiwi"},
        4: {"Kiwi/4.jpg": "Kiwi"},
    }
