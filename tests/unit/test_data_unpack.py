"""Archives into folders: whole or not at all, whatever is in them."""

import fcntl
import gzip
import io
import os
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from base.errors import UsageError
from data import unpack
from data.members import ArchiveError
from data.meter import Meter

PHOTOGRAPHS = {"Kiwi/0_0.jpg": b"green" * 100, "Kiwi/0_1.JPG": b"brown", "Lime/0_0.png": b"yellow"}
CONTROL = {"a tab": "Kiwi/a\tb.jpg", "an escape": "Kiwi/\x1b[2J.jpg", "turned round": "Kiwi/gpj.\u202e.jpg"}
OUTSIDE = ["../evil.jpg", "Kiwi/../../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg", "..\\evil.jpg", "Kiwi/.."]


def zipped(path, files, *, kind=0, compression=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as made:
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, content in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind if name.startswith("odd") else stat.S_IFREG) << 16
            info.compress_type = compression
            made.writestr(info, content)
    return path


def tarred(path, files, *, kind=tarfile.REGTYPE, layout=tarfile.PAX_FORMAT, mode="w"):
    with tarfile.open(path, mode, format=layout) as made:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.startswith("odd"):
                info.type, info.linkname, info.size = kind, "/etc/passwd", 0
            made.addfile(info, io.BytesIO(content))
    return path


MAKERS: dict[str, Callable[..., Path]] = {
    "set.zip": zipped,
    "set.tar": tarred,
    "set.tar.gz": lambda path, files: tarred(path, files, mode="w:gz"),
    "gnu.tar": lambda path, files: tarred(path, files, layout=tarfile.GNU_FORMAT),
}


@pytest.fixture(params=MAKERS)
def make(request, tmp_path):
    """Makes an archive of each format out of names and contents."""
    return lambda files: MAKERS[request.param](tmp_path / request.param, files)


@pytest.fixture
def take(tmp_path):
    def call(archive, folder="set", sha256="1"):
        return unpack.unpack(archive, tmp_path / "out" / folder, sha256=sha256, out=io.StringIO())

    return call


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != unpack.RECORD
    }


def nothing_left(tmp_path):
    return not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_class_folders_come_out_as_they_went_in(make, take, tmp_path):
    found = take(make(PHOTOGRAPHS))
    assert content(tmp_path / "out" / "set") == PHOTOGRAPHS
    assert (found.files, found.images, found.classes, found.hidden) == (3, 3, 2, 0)
    assert found.size == sum(map(len, PHOTOGRAPHS.values()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]


def test_a_folder_round_all_of_it_is_left_out(make, take, tmp_path):
    deep = {f"photos-1f3a/{side}/{name}": data for side in ("Training", "Test") for name, data in PHOTOGRAPHS.items()}
    found = take(make(deep | {"photos-1f3a/LICENSE": b"CC BY-SA 4.0"}))
    assert set(content(tmp_path / "out" / "set")) == {name.removeprefix("photos-1f3a/") for name in deep} | {"LICENSE"}
    assert (found.files, found.images, found.classes) == (7, 6, 2)


def test_a_single_class_stays_one(make, take, tmp_path):
    take(make({"Kiwi/0.jpg": b"1"}))
    assert set(content(tmp_path / "out" / "set")) == {"Kiwi/0.jpg"}


def test_hidden_files_are_passed_over_and_counted(make, take, tmp_path):
    found = take(make(PHOTOGRAPHS | {"Kiwi/.DS_Store": b"x", "__MACOSX/Kiwi/._0_0.jpg": b"x", ".git/a.jpg": b"x"}))
    assert content(tmp_path / "out" / "set") == PHOTOGRAPHS
    assert (found.files, found.hidden) == (3, 3)


def test_a_second_time_does_nothing(make, take, tmp_path):
    archive = make(PHOTOGRAPHS)
    found = take(archive)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    (tmp_path / "out" / "set" / ".DS_Store").write_bytes(b"x")
    assert take(archive) == found
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.is_file())


def test_a_folder_that_lost_a_file_is_not_taken_for_whole(make, take, tmp_path):
    archive = make(PHOTOGRAPHS)
    take(archive)
    (tmp_path / "out" / "set" / "Kiwi" / "0_0.jpg").unlink()
    with pytest.raises(UsageError, match="holds 2 files of 11 bytes, and the archive came to 3 of 511"):
        take(archive)


def test_another_archive_does_not_replace_it(make, take):
    archive = make(PHOTOGRAPHS)
    take(archive)
    with pytest.raises(UsageError, match="what another archive came to"):
        take(archive, sha256="2")


@pytest.mark.parametrize("name", ["mine.txt", "Kiwi/0_0.jpg", unpack.RECORD])
def test_a_folder_of_others_stays_as_it_is(make, take, tmp_path, name):
    path = tmp_path / "out" / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="holds other files, which stay as they are"):
        take(make(PHOTOGRAPHS))
    assert path.read_bytes() == b"mine"
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["set"]


def test_a_file_or_a_link_in_its_place_stays(make, take, tmp_path):
    archive = make(PHOTOGRAPHS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_bytes(b"mine")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="holds other files"):
            take(archive, folder=name)
    assert (tmp_path / "out" / "file").read_bytes() == b"mine"
    assert (tmp_path / "out" / "link").is_symlink()


def test_an_empty_folder_is_filled(make, take, tmp_path):
    (tmp_path / "out" / "set").mkdir(parents=True)
    take(make(PHOTOGRAPHS))
    assert content(tmp_path / "out" / "set") == PHOTOGRAPHS


def test_what_came_into_its_place_meanwhile_stays(make, take, tmp_path, monkeypatch):
    rename = Path.rename

    def late(path, target):
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(UsageError, match="holds other files"):
        take(make(PHOTOGRAPHS))
    assert content(tmp_path / "out" / "set") == {"mine": b"mine"}


def test_what_a_killed_run_left_goes(make, take, tmp_path):
    half = tmp_path / "out" / ".set.emrlab-half" / "files" / "Kiwi"
    half.mkdir(parents=True)
    (half / "0_0.jpg").write_bytes(b"half")
    take(make(PHOTOGRAPHS))
    assert content(tmp_path / "out" / "set") == PHOTOGRAPHS
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]


@pytest.mark.parametrize("is_link", [True, False])
def test_what_another_put_in_the_place_of_the_half_is_left_alone(make, take, tmp_path, is_link):
    mine = tmp_path / "mine" / "files" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    half = tmp_path / "out" / ".set.emrlab-half"
    half.parent.mkdir()
    if is_link:
        half.symlink_to(tmp_path / "mine")
    else:
        half.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"\.set\.emrlab-half is no folder of make data; remove it"):
        take(make(PHOTOGRAPHS))
    assert mine.read_bytes() == b"mine"


def test_two_at_a_time_are_kept_apart(make, take, tmp_path):
    half = tmp_path / "out" / ".set.emrlab-half"
    half.mkdir(parents=True)
    opened = os.open(half, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another make data fills"):
        take(make(PHOTOGRAPHS))
    os.close(opened)
    take(make(PHOTOGRAPHS))


@pytest.mark.parametrize("name", [*OUTSIDE, *CONTROL.values(), f"Kiwi/{'a' * 252}.jpg", f"{'Kiwi/' * 300}a.jpg"])
def test_a_hostile_name_ends_it(make, take, tmp_path, name):
    with pytest.raises(ArchiveError, match="nothing is unpacked") as caught:
        take(make(PHOTOGRAPHS | {name: b"evil"}))
    assert str(caught.value).isprintable(), "a terminal is not told what to do"
    assert nothing_left(tmp_path)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "twice",
    [
        [("Kiwi/a.jpg", b"1"), ("Kiwi/a.jpg", b"2")],
        [("Kiwi/a.jpg", b"1"), ("Kiwi/A.JPG", b"2")],
        [("Kiwi/a.jpg", b"1"), ("kiwi/b.jpg", b"2")],
        [("Caf\u00e9/a.jpg", b"1"), ("Cafe\u0301/b.jpg", b"2")],
        [("Kiwi", b"1"), ("Kiwi/b.jpg", b"2")],
        [("Kiwi/b.jpg", b"1"), ("Kiwi", b"2")],
        [("Kiwi/./a.jpg", b"1"), ("Kiwi//a.jpg", b"2")],
    ],
)
def test_names_that_not_every_disk_keeps_apart_end_it(make, take, tmp_path, twice):
    with pytest.raises(ArchiveError, match="which not every disk keeps apart"):
        take(make(twice))
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is neither a file nor a folder"),
        (tarfile.BLKTYPE, "is neither a file nor a folder"),
        (tarfile.FIFOTYPE, "is neither a file nor a folder"),
        (tarfile.GNUTYPE_SPARSE, "is a sparse file"),
    ],
)
def test_a_tars_links_and_devices_end_it(tmp_path, take, kind, words):
    archive = tarred(tmp_path / "set.tar", PHOTOGRAPHS | {"odd.jpg": b""}, kind=kind)
    with pytest.raises(ArchiveError, match=f"'odd.jpg', which {words}"):
        take(archive)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("kind", "words"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is neither"), (stat.S_IFCHR, "is neither")]
)
def test_a_zips_links_and_devices_end_it(tmp_path, take, kind, words):
    archive = zipped(tmp_path / "set.zip", PHOTOGRAPHS | {"odd.jpg": b"/etc/passwd"}, kind=kind)
    with pytest.raises(ArchiveError, match=f"'odd.jpg', which {words}"):
        take(archive)
    assert nothing_left(tmp_path)


def test_a_packing_without_bounds_is_refused(tmp_path, take):
    archive = zipped(tmp_path / "set.zip", PHOTOGRAPHS, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(ArchiveError, match="is neither stored nor deflated"):
        take(archive)


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_a_bomb_does_not_go_off(tmp_path, take, name, monkeypatch):
    monkeypatch.setattr(unpack, "SMALL_BYTES", 10**5)
    archive = MAKERS[name](tmp_path / name, {"Kiwi/0.jpg": b"\0" * 30_000_000})
    with pytest.raises(
        ArchiveError, match=r"unpacks to more than the \d+ MB that the free disk and its own size allow"
    ):
        take(archive)
    assert nothing_left(tmp_path)


def test_a_bomb_behind_the_end_of_a_tar_does_not_go_off(tmp_path, take, monkeypatch):
    monkeypatch.setattr(unpack, "SMALL_BYTES", 10**5)
    plain = tarred(tmp_path / "set.tar", PHOTOGRAPHS).read_bytes()
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(plain + b"\0" * 30_000_000))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        take(tmp_path / "set.tar.gz")


def test_a_full_disk_is_seen_before(make, take, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "RESERVE_BYTES", 2**60)
    with pytest.raises(ArchiveError, match="more than the 0 MB that the free disk"):
        take(make(PHOTOGRAPHS))
    assert nothing_left(tmp_path)


def test_too_many_members_are_refused(make, take, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "MEMBERS", 2)
    with pytest.raises(ArchiveError, match="has more than 2 members"):
        take(make(PHOTOGRAPHS))


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [2**40, 2**33, -512, -(2**40)])
def test_a_header_of_an_absurd_size_is_not_read(tmp_path, take, kind, size):
    header = bytearray(tarfile.TarInfo("odd").tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = kind
    header[124:136] = (
        b"\xff" + size.to_bytes(11, "big", signed=True) if size < 0 else b"\x80" + size.to_bytes(11, "big")
    )
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    archive = tmp_path / "set.tar"
    archive.write_bytes(bytes(header) + tarred(tmp_path / "good.tar", PHOTOGRAPHS).read_bytes())
    with pytest.raises(ArchiveError, match="is damaged") as caught:
        take(archive)
    assert caught.value.damaged
    assert nothing_left(tmp_path)


def test_a_chain_of_headers_without_end_is_damage(tmp_path, take):
    header = bytearray(tarfile.TarInfo("odd").tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = b"L"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "set.tar").write_bytes(bytes(header) * 20_000)
    with pytest.raises(ArchiveError, match="is damaged"):
        take(tmp_path / "set.tar")


def test_wherever_it_is_cut_off_nothing_comes_out(make, take, tmp_path):
    whole = make(PHOTOGRAPHS)
    data = whole.read_bytes()
    for length in {*range(1, len(data), max(1, len(data) // 40)), 512, 1024, 1536, 2560} & set(range(len(data))):
        if data[length : length + 1024].strip(b"\0"):  # a tar is whole without its last zeros
            whole.write_bytes(data[:length])
            with pytest.raises(ArchiveError):
                take(whole)
            assert nothing_left(tmp_path), length


def test_a_turned_bit_is_seen_where_there_is_a_checksum(tmp_path, take):
    for name in ("set.zip", "set.tar.gz"):
        path = MAKERS[name](tmp_path / name, {"Kiwi/0.jpg": os.urandom(10_000)})
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match="is damaged") as caught:
            take(path)
        assert caught.value.damaged


def test_a_zip_that_lies_about_a_size_is_damaged(tmp_path, take):
    path = zipped(tmp_path / "set.zip", {"Kiwi/0.jpg": b"x" * 1000}, compression=zipfile.ZIP_STORED)
    data = path.read_bytes().replace(struct.pack("<II", 1000, 1000), struct.pack("<II", 1000, 10))
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="is damaged"):
        take(path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"hello", b"BZh91AY&SY", b"\xfd7zXZ\0", b"x" * 1000])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, take, data):
    (tmp_path / "set.bin").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"set\.bin is neither zip, tar nor tar.gz"):
        take(tmp_path / "set.bin")


def test_an_archive_without_images_is_refused(make, take, tmp_path):
    with pytest.raises(ArchiveError, match=r"holds no image \(\.jpg, "):
        take(make({"Kiwi/readme.txt": b"x"}))
    assert nothing_left(tmp_path)


def test_ctrl_c_leaves_nothing(make, take, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Meter, "show", stop)
    with pytest.raises(KeyboardInterrupt):
        take(make(PHOTOGRAPHS))
    assert nothing_left(tmp_path)
