import functools

import numpy as np
import pyarrow as pa
import pytest

from pipeline import results, sums
from pipeline.split import Splitter

LABELS = ["Kiwi", "Lemon", "Pear"]
WIDTH = 6


@pytest.fixture
def rows():
    """Of 400 images, features with a mean far from zero, classes, and lots, of which every fifth is that of a test."""
    random = np.random.default_rng(3)
    lots = np.where(np.arange(400) % 5, np.repeat(random.random(100), 4), np.nan)
    return (100 + random.normal(size=(400, WIDTH))).astype(np.float32), random.integers(0, 3, 400), lots


def in_blocks(rows, *cuts, share=0.5):
    parts = zip(*(np.split(part, cuts) for part in rows), strict=True)
    return functools.reduce(sums.add, (sums.block(*part, share=share) for part in parts))


def assert_equal(left, right):
    for part in ("train", "test", "classes", "drawn"):
        for name, value in vars(getattr(left, part)).items():
            np.testing.assert_allclose(getattr(getattr(right, part), name), value, rtol=1e-9, atol=1e-8)


def test_blocks_add_up_to_the_whole(rows):
    features, classes, lots = rows
    found = in_blocks(rows, 1, 7, 200)
    training = ~np.isnan(lots)
    np.testing.assert_allclose(found.all.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.all.scatter / 399, np.cov(features.T.astype(np.float64)), rtol=1e-9, atol=1e-9)
    assert (found.train.count, found.test.count) == (320, 80)
    for number in range(3):
        own = features[training & (classes == number)].astype(np.float64)
        assert found.classes.counts[number] == len(own)
        np.testing.assert_allclose(found.classes.means[number], own.mean(axis=0), rtol=1e-12)
    assert_equal(in_blocks(rows), found)


def test_a_block_of_one_side_or_without_a_class(rows):
    _, classes, lots = rows
    order = np.lexsort((classes, np.isnan(lots)))
    found = in_blocks(tuple(part[order] for part in rows), 50, 150, 330, 390)
    assert list(found.classes.index) == [0, 1, 2]
    assert found.test.count == 80
    np.testing.assert_allclose(found.all.scatter, in_blocks(rows).all.scatter, rtol=1e-9, atol=1e-8)


def test_what_is_drawn_are_whole_fruits_that_train(rows):
    features, _, lots = rows
    drawn = in_blocks(rows, 100, share=0.3).drawn
    assert 0 < len(drawn.lots) < 320
    assert sorted(drawn.lots) == sorted(lots[lots < 0.3])
    assert {bytes(row) for row in drawn.rows} == {bytes(row) for row in features[lots < 0.3]}
    few = drawn.below(0.1)
    assert sorted(few.lots) == sorted(lots[lots < 0.1])


def test_packed_and_unpacked(rows):
    found = in_blocks(rows)
    again, about = sums.unpack(bytes(sums.pack(found, "Äpfel")))
    assert_equal(found, again)
    assert about == "Äpfel"
    assert isinstance(again.train.count, int)


KNOWN = [f"{LABELS[number % 3]}/{number}a.jpg" for number in range(4000)]


def write(file, paths):
    """A file of features of these images."""
    random, labels = np.random.default_rng(len(paths)), [path.split("/")[0] for path in paths]
    columns = [
        paths,
        labels,
        pa.array(map(LABELS.index, labels), pa.int32()),
        [""] * len(paths),
        results.vectors(random.normal(size=(len(paths), WIDTH)).astype(np.float32)),
    ]
    results.write_table(str(file), pa.table(columns, schema=results.FEATURES_SCHEMA))


def side(path, paths):
    """Of one image of a class, in a set of these."""
    splitter = Splitter(42)
    for one in paths:
        splitter.learn(one, one.split("/")[0])
    return splitter.side(path, path.split("/")[0])


@pytest.fixture
def measure(spark, tmp_path):
    """Keeps the sums of the images `paths` in `files` at `to`, from what was kept at `kept`; returns them."""

    def call(files, paths, *, kept="none.npz", to="sums.npz"):
        splitter = Splitter(42)
        for path in paths:
            splitter.learn(path, path.split("/")[0])
        found = sums.measure(
            spark.sparkContext,
            [f"{tmp_path}/{file}" for file in files],
            splitter=splitter,
            labels=LABELS,
            images=len(paths),
            kept=f"{tmp_path}/{kept}",
            target=f"{tmp_path}/parts",
            slots=2,
        )
        sums.keep(found, f"{tmp_path}/{to}")
        return found.sums

    return call


def test_a_run_reads_what_is_new_and_the_sums_of_what_is_known(measure, tmp_path):
    new = ["Kiwi/new.jpg"]
    write(tmp_path / "known.parquet", KNOWN)
    write(tmp_path / "new.parquet", new)
    measure(["known.parquet"], KNOWN)
    whole = measure(["known.parquet", "new.parquet"], KNOWN + new, to="fresh.npz")
    (tmp_path / "known.parquet").write_bytes(b"nobody reads it")
    found = measure(["known.parquet", "new.parquet"], KNOWN + new, kept="sums.npz")
    assert_equal(found, whole)
    assert_equal(measure(["known.parquet", "new.parquet"], KNOWN + new, kept="sums.npz"), whole)


def test_kept_sums_are_dropped_when_a_file_has_gone(measure, tmp_path):
    for file, paths in {"known": KNOWN, "other": KNOWN[:3000]}.items():
        write(tmp_path / f"{file}.parquet", paths)
    measure(["known.parquet"], KNOWN)
    assert measure(["other.parquet"], KNOWN[:3000], kept="sums.npz", to="new.npz").all.count == 3000


def test_kept_sums_are_dropped_when_an_image_changes_sides(measure, tmp_path):
    others = [path for path in KNOWN if not path.startswith("Pear/")]
    more = [f"Pear/{number}a.jpg" for number in range(20)]
    # The only one of its class trains, until there are others to do so.
    rare = next(path for path in map("Pear/rare{}.jpg".format, range(99)) if side(path, [*more, path]) == "test")
    paths = [*others, rare]
    write(tmp_path / "known.parquet", paths)
    write(tmp_path / "new.parquet", more)
    assert measure(["known.parquet"], paths).classes.counts[2] == 1
    whole = measure(["known.parquet", "new.parquet"], paths + more, to="fresh.npz")
    assert_equal(measure(["known.parquet", "new.parquet"], paths + more, kept="sums.npz", to="new.npz"), whole)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", bytes(1000)])
def test_kept_sums_that_cannot_be_read_are_none(measure, tmp_path, content):
    write(tmp_path / "known.parquet", KNOWN)
    (tmp_path / "bad.npz").write_bytes(content)
    assert measure(["known.parquet"], KNOWN, kept="bad.npz").all.count == 4000


def test_sums_larger_than_the_features_are_not_kept(measure, tmp_path):
    write(tmp_path / "known.parquet", KNOWN[:100])
    measure(["known.parquet"], KNOWN[:100])
    assert not (tmp_path / "sums.npz").exists()
