from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import folder, shards, tar
from pipeline.folder import Entry
from pipeline.shards import Packed
from pipeline.tar import Member
from tests import archives


def entry(path: Path) -> Entry:
    (found,) = (each for each in folder.walk(str(path.parent)) if each.path == path.name)
    return found


def members(path: Path) -> list[Packed]:
    shard = entry(path)
    with ThreadPoolExecutor(4) as pool:
        end = pool.submit(shards.tail, str(path.parent), shard)
        return list(shards.members(str(path.parent), shard, end, pool))


def indexed(
    contents: dict[str, bytes], change: Callable[[list[Member]], list[Member]] = lambda placed: placed
) -> bytes:
    """An archive with an index, which `change` may make a lie."""
    whole, placed = b"", []
    for name, content in contents.items():
        placed.append(Member(name, len(whole) + 512, len(content)))
        whole += archives.member(name, content)
    return whole + archives.member(shards.INDEX, shards.index(change(placed))) + archives.END


CONTENTS = {f"Kiwi/{number}.jpg": bytes([number]) * 700 * number for number in range(9)}


@pytest.fixture
def reads(monkeypatch) -> list[tuple[int, int]]:
    made, real = [], shards.read

    def read(uri: str, shard: Entry, start_b: int, length_b: int) -> bytes:
        made.append((start_b, length_b))
        return real(uri, shard, start_b, length_b)

    monkeypatch.setattr(shards, "read", read)
    return made


def test_an_index_tells_what_the_headers_tell_by_one_request(tmp_path, reads, monkeypatch):
    whole = indexed(CONTENTS)
    (tmp_path / "a.tar").write_bytes(whole)
    found = members(tmp_path / "a.tar")
    assert len(reads) == 1
    bare = whole.replace(b"__index__", b"_________")
    scanned = list(tar.scan(lambda start, length: whole[start : start + length], len(whole)))
    assert [packed.member for packed in found] == scanned[:-1]
    assert scanned[-1].name == shards.INDEX
    monkeypatch.setattr(shards, "TAIL_B", 2048)  # the index begins before the tail
    assert members(tmp_path / "a.tar") == found
    assert bare != whole


@pytest.mark.parametrize(
    "change",
    [
        lambda placed: [*placed[:3], placed[2]],
        lambda placed: placed[::-1],
        lambda placed: [Member("a.jpg", 512, 2**40)],
        lambda placed: [Member("a.jpg", -512, 5)],
        lambda placed: [Member("a.jpg", 512, -5)],
        lambda placed: [Member("a.jpg", 513, 5)],
        lambda placed: [Member("../a.jpg", 512, 5)],
        lambda placed: [Member("/a.jpg", 512, 5)],
        lambda placed: [Member("a.jpg", 512, 5), Member("a.jpg", 1536, 5)],
        lambda placed: [Member("a\rb.jpg", 512, 5)],
    ],
)
def test_an_index_that_cannot_be_true_is_none(change, tmp_path):
    (tmp_path / "a.tar").write_bytes(indexed(CONTENTS, change))
    found = members(tmp_path / "a.tar")
    assert [packed.member.name for packed in found] == [*CONTENTS, shards.INDEX]


@pytest.mark.parametrize(
    "last", [b"__index__ 1 9 99999999\n", b"__index__ 1 99999999 9\n", b"__index__ 1 0 0\n", b"\n"]
)
def test_a_last_line_that_lies_is_none(last, tmp_path):
    content = archives.member("a.jpg", b"1") + archives.member(shards.INDEX, b"512 1 a.jpg\n" + last) + archives.END
    (tmp_path / "a.tar").write_bytes(content)
    assert [packed.member.name for packed in members(tmp_path / "a.tar")] == ["a.jpg", shards.INDEX]


def test_a_small_archive_without_an_index_is_read_once(tmp_path, reads):
    content = b"".join(archives.member(name, body) for name, body in CONTENTS.items())
    content += archives.member("Kiwi/0.cls", b"Kiwi") + archives.END
    (tmp_path / "a.tar").write_bytes(content)
    assert [packed.member.name for packed in members(tmp_path / "a.tar")] == list(CONTENTS)
    assert reads == [(0, len(content))]


def test_windows_are_read_once_and_large_bodies_leapt_over(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(shards, "WINDOW_B", 4096)
    monkeypatch.setattr(shards, "TAIL_B", 1024)
    sizes = [100, 50_000, 700, 700, 3000, 90_000, 100, 5000]
    whole = b"".join(archives.member(f"{number}.jpg", b"x" * size) for number, size in enumerate(sizes))
    (tmp_path / "a.tar").write_bytes(whole + archives.END)
    assert [packed.member.size for packed in members(tmp_path / "a.tar")] == sizes
    assert len(set(reads)) == len(reads)
    assert len(reads) < len(whole) / 4096 / 2


def test_classes_of_webdataset_stand_beside_their_images_before_or_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WINDOW_B", 1024)  # what a .cls holds lies in another window than its header
    monkeypatch.setattr(shards, "TAIL_B", 1024)
    content = b"".join(
        archives.member(name, body)
        for name, body in {
            "00/1.cls": b"Kiwi", "00/1.jpg": b"x", "00/1.json": b"{}", "00/2.jpg": b"y" * 900, "00/2.cls": b"7\n",
            "00/3.jpg": b"z", "01/3.cls": b"Lemon", "01/3.left.jpg": b"l", "01/3.right.jpg": b"r",
            "4.cls": b" ", "4.jpg": b"4", "5.jpg": b"5", "5.cls": b"x" * 9999, "6.cls": b"\xff\t", "6.jpg": b"6",
        }.items()
    )  # fmt: skip
    (tmp_path / "a.tar").write_bytes(content + archives.END)
    found = {packed.member.name: packed for packed in members(tmp_path / "a.tar")}
    labels = {name: packed.label for name, packed in found.items() if name.endswith(".jpg")}
    assert labels == {
        "00/1.jpg": "Kiwi", "00/2.jpg": "7", "00/3.jpg": None, "01/3.left.jpg": "Lemon", "01/3.right.jpg": "Lemon",
        "4.jpg": None, "5.jpg": None, "6.jpg": "\\xff",
    }  # fmt: skip
    assert [name for name, packed in found.items() if packed.member.error] == ["4.jpg", "5.jpg"]
    assert found["4.jpg"].member.error == "BadClass"


def test_a_sample_of_countless_members_is_not_held(tmp_path):
    content = b"".join(archives.member(f"a.{number}.jpg", b"x") for number in range(500)) + archives.END
    (tmp_path / "a.tar").write_bytes(content)
    assert len(members(tmp_path / "a.tar")) == 500


def test_what_cannot_be_read_is_one_member_with_the_cause(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    (packed,) = members(tmp_path / "a.tar.gz")
    assert (packed.member.name, packed.member.error) == ("", "Compressed")
    (tmp_path / "b.tar").write_bytes(indexed(CONTENTS))
    shard = entry(tmp_path / "b.tar")
    (tmp_path / "b.tar").write_bytes(indexed(CONTENTS)[:-512])
    with ThreadPoolExecutor(1) as pool:
        (packed,) = shards.members(str(tmp_path), shard, pool.submit(shards.tail, str(tmp_path), shard), pool)
        assert (packed.member.name, packed.member.error) == ("", "Replaced")
        (tmp_path / "b.tar").unlink()
        (packed,) = shards.members(str(tmp_path), shard, pool.submit(shards.tail, str(tmp_path), shard), pool)
        assert packed.member.error == "NotFound"
        (tmp_path / "b.tar").mkdir()  # as for a bad sector, the system's words
        (packed,) = shards.members(str(tmp_path), shard, pool.submit(shards.tail, str(tmp_path), shard), pool)
        assert (packed.member.error, packed.member.message) == ("IsADirectoryError", "is a directory")
