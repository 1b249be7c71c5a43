"""Folders that hold what a job wrote: what a run left there gives way to the next, and nothing else does."""

import pytest

from base.errors import UsageError
from launch import outputs


def test_what_a_run_left_gives_way(tmp_path):
    folder = tmp_path / "out"
    outputs.check(folder, words="r")  # nothing is there
    folder.mkdir()
    outputs.check(folder, words="r")  # nothing is in it
    (folder / "part").mkdir()
    (folder / "part" / "0.parquet").write_text("1")
    with pytest.raises(UsageError):
        outputs.check(folder, words="r")
    outputs.record(folder)
    outputs.check(folder, words="r")
    outputs.check(folder, words="outputs.result")


@pytest.mark.parametrize("change", ["new", "changed", "link"])
def test_what_a_user_put_there_does_not(tmp_path, change):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "0.parquet").write_text("1")
    outputs.record(folder)
    if change == "new":
        (folder / "mine.txt").write_text("mine")
    elif change == "changed":
        (folder / "0.parquet").write_text("mine")
    else:
        (folder / "0.parquet").unlink()
        (folder / "0.parquet").symlink_to(tmp_path)
    with pytest.raises(UsageError):
        outputs.check(folder, words="r")
    with pytest.raises(UsageError, match="which no run left there; choose another folder"):
        outputs.check(folder, words="outputs.result")


def test_a_file_is_no_folder_and_a_broken_record_no_record(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is no folder"):
        outputs.check(tmp_path / "file", words="outputs.result")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (folder / outputs.RECORD).write_text('{"files": 3}')
    with pytest.raises(UsageError, match=r"mine\.txt"):
        outputs.check(folder, words="outputs.result")
