"""The listing in files, and in the slices of them that tasks read."""

import pytest

from pipeline import images, listing, results
from pipeline.images import ImageRef, ListingSummary
from pipeline.listing import ListingSlice
from pipeline.settings import UsageError
from pipeline.split import Splitter
from tests import pictures


def test_every_image_is_in_one_slice(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "FILE_ROWS", 7)
    monkeypatch.setattr(listing, "BLOCK_ROWS", 7)
    pictures.write_set(tmp_path / "in", classes=3, views=8)
    (tmp_path / "in" / "Class 0" / "empty.jpg").touch()
    listed = list(images.list_images(str(tmp_path / "in"), ListingSummary()))
    listing.write(iter(listed), str(tmp_path / "listing"), Splitter(42))
    files = [f"{tmp_path}/listing/{name}" for name in results.parquet_files(str(tmp_path / "listing"))]
    parts = listing.cut(files, most=3, fewest=1, slots=1)
    assert [part.rows for part in parts] == [3, 3, 1, 3, 3, 1, 3, 3, 1, 2, 1, 1]
    assert [image for part in parts for image in listing.read(part)] == listed


def test_an_input_in_a_closed_folder_is_said(tmp_path, unprivileged):
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0)
    with (
        unprivileged(closed),
        pytest.raises(UsageError, match=r"--input .*/closed/in: permission denied; this user has no right to it"),
    ):
        listing.begin(f"{closed}/in", ListingSummary())
    closed.chmod(0o755)


def test_the_last_slices_are_the_smallest(tmp_path):
    listing.write(iter([ImageRef(f"{n}.jpg", 1, "etag", "x") for n in range(1000)]), str(tmp_path), Splitter(42))
    parts = listing.cut([f"{tmp_path}/00000.parquet"], most=100, fewest=10, slots=2)
    rows = [part.rows for part in parts]
    assert rows[:6] == [100] * 6
    assert rows == sorted(rows[:-1], reverse=True) + rows[-1:]
    assert all(10 <= each <= max(sum(rows[number:]) // 4, 10) for number, each in enumerate(rows[:-1]))
    assert sum(rows) == 1000


def test_a_file_without_rows_gives_no_slice(tmp_path):
    results.write_table(f"{tmp_path}/none.parquet", results.LISTING_SCHEMA.empty_table())
    assert listing.cut([f"{tmp_path}/none.parquet"], most=3, fewest=1, slots=1) == []


def test_a_slice_is_of_its_own_file(tmp_path):
    for name in ("a", "b"):
        listing.write(iter([ImageRef(f"{name}.jpg", 1, "etag", "x")]), f"{tmp_path}/{name}", Splitter(42))
    for name in ("a", "b", "a"):
        (image,) = listing.read(ListingSlice(f"{tmp_path}/{name}/00000.parquet", 0, 1))
        assert image.path == f"{name}.jpg"
