"""make shards, into a folder; what it makes is what the job reads."""

import errno
import os
import shutil
import tarfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from data import shards as command
from pipeline import images, loading
from pipeline.images import ListingSummary
from pipeline.loading import DecodedImage
from tests import pictures


@pytest.fixture
def photos(tmp_path) -> Path:
    pictures.write_set(tmp_path / "photos" / "Training", classes=2, views=10)
    pictures.write_set(tmp_path / "photos" / "Test", classes=2, views=4)
    return tmp_path / "photos"


@pytest.fixture
def make(tmp_path, photos, monkeypatch):
    """`make shards` of the photographs in archives of 8 KiB; returns the exit code."""
    monkeypatch.setattr(command, "SHARD_B", 8192)

    def call(output: str = "packed") -> int:
        return command.main(["--input", str(photos), "--output", str(tmp_path / output)])

    return call


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in sorted(folder.iterdir())}


def test_an_input_in_s3_is_none(capsys):
    assert command.main(["--input", "s3://bucket/photos", "--output", "out"]) == 2
    error = "error: --input s3://bucket/photos is in S3; archives are made of a folder of this machine: name that\n"
    assert capsys.readouterr().err == error


def test_every_image_is_in_them_once_with_its_path_and_bytes(make, photos, tmp_path, capsys):
    names = ["Training/Class 0/" + "long" * 50 + ".jpg", "Test/tab\there.jpg", "Test/\udcff.jpg", "Test/a.tar!b.jpg"]
    for name in names:
        (photos / name).write_bytes(pictures.encode(pictures.pixels(1)))
    (photos / "README.txt").write_text("x")
    (photos / "Test" / "nothing.jpg").symlink_to("gone.jpg")
    assert make() == 0
    printed = capsys.readouterr()
    assert "32 images in" in printed.out
    assert "skipped as no images: 1 files, like README.txt" in printed.out
    assert "1 of" in printed.err
    assert "Test/nothing.jpg: a link that leads nowhere" in printed.err
    packed = tmp_path / "packed"
    there = [path for path in photos.rglob("*.jpg") if path.exists()]
    with_tarfile = {}
    for path in packed.iterdir():
        assert path.stat().st_size < 2 * 8192 + 4096
        with tarfile.open(path) as archive:
            for info in archive.getmembers():
                content = archive.extractfile(info)
                assert content is not None
                assert (info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "")
                with_tarfile[os.fsdecode(info.name.encode(errors="surrogateescape"))] = content.read()
    with_tarfile.pop("__index__")
    assert with_tarfile == {str(path.relative_to(photos)): path.read_bytes() for path in there}
    summary = ListingSummary()
    outcomes = list(loading.load(list(images.list_images(str(packed), summary)), str(packed), size=32))
    (photos / "Test" / "nothing.jpg").unlink()
    files = ListingSummary()
    expected = list(loading.load(list(images.list_images(str(photos), files)), str(photos), size=32))
    assert summary.labels == files.labels
    squares = {each.image.path.partition("!")[2]: each.rgb for each in outcomes if isinstance(each, DecodedImage)}
    whole = [each for each in expected if isinstance(each, DecodedImage)]
    assert squares.keys() == {each.image.path for each in whole}
    assert all((squares[each.image.path] == each.rgb).all() for each in whole)


def test_the_same_images_give_the_same_bytes_whatever_their_times_and_places(make, photos, tmp_path):
    assert make("first") == 0
    shutil.copytree(photos, tmp_path / "again")
    for path in photos.rglob("*.jpg"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert make("second") == 0
    first, second = (state(tmp_path / name) for name in ("first", "second"))
    assert {name: content for name, (content, _) in first.items()} == {
        name: content for name, (content, _) in second.items()
    }


def test_what_is_whole_stays_and_what_is_missing_is_made(make, tmp_path, capsys):
    assert make() == 0
    before = state(tmp_path / "packed")
    (tmp_path / "packed" / min(before)).unlink()
    capsys.readouterr()
    assert make() == 0
    assert f"1 written, {len(before) - 1} were there" in capsys.readouterr().out
    after = state(tmp_path / "packed")
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert {name for name in after if after[name][1] == before[name][1]} >= set(sorted(before)[1:])


def test_nothing_of_others_is_overwritten(make, tmp_path, capsys):
    assert make() == 0
    first, *_ = sorted((tmp_path / "packed").iterdir())
    first.write_bytes(b"mine")
    assert make() == 1
    assert "holds something else" in capsys.readouterr().err
    assert first.read_bytes() == b"mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "old.tar").write_bytes(b"theirs")
    assert make("other") == 1
    assert "old.tar" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["old.tar"]


def test_beside_an_archive_of_another_input_nothing_is_written(make, photos, tmp_path, monkeypatch, capsys):
    """As where photographs have come since: who reads the folder would have the old ones twice."""
    monkeypatch.setattr(command, "SHARD_B", 2**30)
    assert make() == 0
    before = state(tmp_path / "packed")
    assert list(before) == ["images-000000.tar"]
    monkeypatch.setattr(command, "SHARD_B", 8192)
    assert make() == 1
    assert "images-000000.tar holds something else" in capsys.readouterr().err
    assert state(tmp_path / "packed") == before


def test_a_disk_without_hard_links_has_the_same_and_nothing_of_others_is_overwritten_there(
    make, tmp_path, monkeypatch, capsys
):
    assert make("expected") == 0
    monkeypatch.setattr(Path, "hardlink_to", Mock(side_effect=PermissionError(errno.EPERM, "Operation not permitted")))
    assert make() == 0
    packed = {name: content for name, (content, _) in state(tmp_path / "packed").items()}
    assert packed == {name: content for name, (content, _) in state(tmp_path / "expected").items()}
    first = min((tmp_path / "packed").iterdir())
    first.write_bytes(b"mine")
    capsys.readouterr()
    assert make() == 1
    assert "holds something else" in capsys.readouterr().err
    assert first.read_bytes() == b"mine"


def test_an_image_that_changes_meanwhile_is_said_and_leaves_no_archive(make, photos, tmp_path, monkeypatch, capsys):
    made = command.plan(photos)

    def planned(source: Path) -> command.Plan:
        (photos / "Test/Class 0/0_0.jpg").write_bytes(b"shorter")
        return made

    monkeypatch.setattr(command, "plan", planned)
    assert make() == 1
    assert "changed while it was read" in capsys.readouterr().err
    assert "images-000000.tar" not in {path.name for path in (tmp_path / "packed").iterdir()}


@pytest.mark.parametrize(("source", "target"), [("none", "out"), ("empty", "out"), ("photos", "photos/packed")])
def test_mistakes(source, target, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert command.main(["--input", str(tmp_path / source), "--output", str(tmp_path / target)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
