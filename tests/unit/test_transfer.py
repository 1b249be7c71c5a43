"""Where a folder of this machine has its place in a bucket."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from launch import transfer


def test_the_same_folder_has_the_same_place_and_no_other_has_it():
    place = transfer.place("/home/anna/photos")
    assert place == transfer.place("/home/anna/photos")
    others = {transfer.place("/home/bert/photos"), transfer.place("/home/anna/photos", owner="another machine")}
    assert len(others | {place}) == 3
    assert {each.partition("/")[2] for each in others | {place}} == {"photos"}, "the class of the images in it"


@pytest.mark.parametrize("name", ["tab\there", "bytes\udcff", "escape\x1b[31m"])
def test_a_folder_whose_name_s3_does_not_take_has_a_place_too(name):
    assert transfer.place(f"/home/anna/{name}").isprintable()


def test_a_machine_keeps_its_mark(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(lambda _: transfer.mark(tmp_path / "cache"), range(8)))
    assert len(marks) == 1
    assert transfer.mark(tmp_path / "cache") in marks
    assert transfer.mark(tmp_path / "other") not in marks
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mark"]
