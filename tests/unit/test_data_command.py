"""`make data` as a user calls it."""

import json
import tomllib
import zipfile
from hashlib import sha256

import pytest

from data import __main__ as command
from data import fetch
from launch import storage
from tests import pictures
from tests.unit.test_data_fetch import World, serving


@pytest.fixture
def archive(tmp_path):
    """A zip as GitHub makes them, of two sides of class folders."""
    for side in ("Training", "Test"):
        pictures.write_set(tmp_path / "photos" / side, classes=2, views=2)
    path = tmp_path / "photos-main.zip"
    with zipfile.ZipFile(path, "w") as made:
        for each in sorted((tmp_path / "photos").rglob("*.jpg")):
            made.write(each, f"photos-main/{each.relative_to(tmp_path / 'photos')}")
    return path


@pytest.fixture
def data(tmp_path, monkeypatch, capsys):
    """Runs the command in folders of its own; its exit code, output and errors."""
    monkeypatch.setattr(command, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(command, "OUT", tmp_path / "out")
    monkeypatch.setattr(fetch, "PAUSE_S", 0.001)
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.1)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def call(*args):
        code = command.main(list(map(str, args)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_file_of_this_machine(data, archive, tmp_path):
    code, out, err = data(archive)
    assert (code, err) == (0, "")
    assert out == f"8 images of 2 classes in {tmp_path}/out/photos-main\n"
    assert len(list((tmp_path / "out" / "photos-main" / "Training" / "Class 0").iterdir())) == 2
    assert data(archive) == (0, out, "")
    assert data(archive, "--dest", tmp_path / "mine", "--sha256", sha256(archive.read_bytes()).hexdigest())[0] == 0
    assert (tmp_path / "mine" / "Test" / "Class 1").is_dir()


def test_an_address_is_fetched_once_for_all_folders(data, archive, tmp_path):
    with serving(World(body=archive.read_bytes())) as world:
        for dest in ("a", "b"):
            code, out, _ = data(f"{world.address}/set.zip", "--dest", tmp_path / dest)
            assert (code, out) == (0, f"8 images of 2 classes in {tmp_path / dest}\n")
    assert len(world.asked) == 1


def test_a_known_set_says_its_licence_and_what_is_not_as_its_makers_say(data, archive, tmp_path, monkeypatch):
    known = tomllib.loads(command.SETS.read_text())["fruits360"]
    with serving(World(body=archive.read_bytes())) as world:
        table = tmp_path / "sets.toml"
        monkeypatch.setattr(command, "SETS", table)
        for images, warns in ((8, False), (9, True)):
            entry = known | {"url": f"{world.address}/set.zip", "images": images, "classes": 2}
            table.write_text(
                "[fruits360]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
            )
            code, out, err = data("fruits360")
            assert code == 0
            assert "Fruits-360" in out
            assert f" in {tmp_path}/out/fruits360\n" in out
            assert "licence: CC BY-SA 4.0\n" in out
            assert bool(err) is warns
    assert err == "warning: its makers speak of 9 images of 2 classes; the archive has 8 of 2\n"


def test_where_nobody_answers_the_way_by_hand_is_said(data):
    code, _, err = data("http://127.0.0.1:9/set.zip")
    assert code == 1
    assert err.endswith("; fetch it by hand, then: make data DATASET=/path/to/the/file\n")
    assert "Traceback" not in err


def test_what_arrived_damaged_is_not_kept(data, archive, tmp_path):
    with serving(World(body=archive.read_bytes()[:-30])) as world:
        code, _, err = data(f"{world.address}/set.zip")
        assert code == 1
        assert "is damaged: File is not a zip file; it was removed, run again" in err
        world.body = archive.read_bytes()
        assert data(f"{world.address}/set.zip")[0] == 0


def test_a_damaged_file_of_the_users_stays(data, tmp_path):
    path = tmp_path / "mine.zip"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    code, _, err = data(path)
    assert (code, err) == (1, "error: mine.zip is damaged: File is not a zip file\n")
    assert path.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fruits361"], "is no file and no data set; give fruits360, https://… or a file"),
        (["/nowhere/set.zip"], "is no file and no data set"),
        (["~nobody-here/set.zip"], "is no file and no data set"),
        (["ftp://host/set.zip"], "is no address"),
        (["fruits360", "--sha256", "abc"], "is no SHA-256; give its 64 hexadecimal digits"),
        (["fruits360", "--dest", "gs://bucket/x"], "gs:// is not served"),
        ([], "DATASET"),
    ],
)
def test_a_mistake_is_one_line(data, args, words, capsys):
    try:
        code, _, err = data(*args)
    except SystemExit as ended:
        code, err = ended.code, capsys.readouterr().err
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_another_hash_of_a_file_is_a_mistake(data, archive):
    code, _, err = data(archive, "--sha256", "0" * 64)
    assert code == 2
    assert f"has the SHA-256 {sha256(archive.read_bytes()).hexdigest()}, not {'0' * 64}" in err


def test_a_bucket_gets_them_too(data, archive, tmp_path, monkeypatch):
    sent = []

    def mirror(folder, uri, access, **more):
        sent.append((folder, uri, access.address, more["prune"]))
        return storage.Mirrored(7, 7, 0, {"Test/long.jpg": "its name is longer than S3 takes"})

    monkeypatch.setattr(storage, "mirror", mirror)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    code, out, err = data(archive, "--dest", "s3://bucket/images/set", "--target", "emr")
    assert code == 0
    assert out.endswith("7 files in s3://bucket/images/set: 7 sent\n")
    assert err.endswith("photos-main stay behind, like Test/long.jpg: its name is longer than S3 takes\n")
    assert sent == [(tmp_path / "out" / "photos-main", "s3://bucket/images/set", "http://127.0.0.1:9", False)]


@pytest.mark.parametrize(
    ("file", "name"), [("my photos.tar.gz", "my_photos"), (".zip", "photographs"), ("set.2.zip", "set.2")]
)
def test_a_folder_is_called_like_its_file(data, archive, tmp_path, file, name):
    code, out, _ = data(archive.rename(tmp_path / file))
    assert (code, out) == (0, f"8 images of 2 classes in {tmp_path}/out/{name}\n")


@pytest.mark.parametrize(("path", "name"), [("/x/set.zip?token=1", "set"), ("/..", "photographs")])
def test_a_folder_is_called_like_the_file_of_its_address(data, archive, tmp_path, path, name):
    with serving(World(body=archive.read_bytes())) as world:
        code, out, _ = data(f"{world.address}{path}")
    assert (code, out) == (0, f"8 images of 2 classes in {tmp_path}/out/{name}\n")


def test_the_table_names_what_is_fetched():
    known = command.DataSet(**tomllib.loads(command.SETS.read_text())["fruits360"])
    assert known.url.startswith("https://")
    assert known.images > 90_000
    assert known.classes > 100
