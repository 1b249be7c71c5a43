"""What a job wrote to S3 comes into a folder here: as a whole, in place of what a run left, never of a user's files."""

import shutil
from pathlib import Path

import pytest

from base.errors import UsageError
from launch import outputs
from launch.s3_access import Access, Key
from launch.storage import StorageError


@pytest.fixture
def come(server, bucket, tmp_path):
    """Put objects below a prefix in S3, fetch it into the folder `out`; the files that are there then."""
    access = Access(key=lambda: Key(key_id="test", secret="test"), region="eu-west-3", address=server)  # noqa: S106
    folder = tmp_path / "out"

    def fetch(*names):
        for entry in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ()):
            bucket.client.delete_object(Bucket=bucket.name, Key=entry["Key"])
        for name in names:
            bucket.client.put_object(
                Bucket=bucket.name, Key=f"results/r{name}", Body=b"" if name.endswith("/") else name.encode()
            )
        outputs.fetch(f"s3://{bucket.name}/results/r", folder, access)
        found = (path for path in folder.rglob("*") if path.is_file() and path.name != outputs.RECORD)
        return {path.relative_to(folder).as_posix() for path in found}

    return fetch


def test_all_files_come_and_marks_of_folders_do_not(come, tmp_path):
    assert come("/", "/part=1/", "/part=1/0.parquet", "/empty/", "/_SUCCESS") == {"part=1/0.parquet", "_SUCCESS"}
    assert (tmp_path / "out" / "part=1" / "0.parquet").read_text() == "/part=1/0.parquet"


def test_the_second_run_s_files_take_the_place_of_the_first_one_s(come, tmp_path):
    assert come("/a", "/x/b") == {"a", "x/b"}
    assert come("/c") == {"c"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing half is left"


def test_who_stops_while_the_files_before_are_removed_has_the_new_ones(come, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    come("/a")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            come("/b")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b", outputs.RECORD}
    outputs.check(tmp_path / "out", words="out")


def test_who_stops_between_the_two_has_the_files_before(come, monkeypatch, tmp_path):
    replace = Path.replace

    def stop(path, place):
        if path.name == "came":
            raise KeyboardInterrupt
        return replace(path, place)

    come("/a")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            come("/b")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", outputs.RECORD}
    assert come("/b") == {"b"}


def test_a_folder_on_another_disk_stays_where_it_is(come, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large", target_is_directory=True)
    come("/a")
    assert come("/b", "/x/c") == {"b", "x/c"}
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "large" / "x" / "c").read_text() == "/x/c"


def test_what_is_a_users_stays(come, tmp_path):
    come("/a")
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="holds mine, which no run left there"):
        come("/b")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "mine", outputs.RECORD}


def test_a_name_that_no_folder_takes_is_refused_and_the_folder_stays_as_it_was(come, tmp_path):
    come("/a")
    with pytest.raises(StorageError, match="has a name that no folder here takes"):
        come("/b", f"/{outputs.RECORD}")
    assert (tmp_path / "out" / "a").exists()


def test_of_nothing_nothing_comes(come, tmp_path):
    assert come() == set()
    assert not (tmp_path / "out").exists()
