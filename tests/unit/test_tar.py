import gzip
import io
import random
import tarfile
import tracemalloc

import pytest

from pipeline import tar
from pipeline.tar import Member
from tests import archives


def scan(content: bytes) -> list[Member]:
    reads: list[int] = []

    def read(start: int, length: int) -> bytes:
        assert 0 <= start <= len(content)
        assert length <= tar.MAX_EXTENSION_B
        reads.append(length)
        return content[start : start + length]

    members = list(tar.scan(read, len(content)))
    assert len(reads) <= 3 * len(content) // tar.BLOCK_B + 3, "no block is read again and again"
    assert sum(reads) <= 3 * len(content) + 3 * tar.BLOCK_B, "nor is what many headers claim to be theirs"
    return members


def names(content: bytes) -> dict[str, str | None]:
    members = scan(content)
    assert len({member.name for member in members}) == len(members)
    return {member.name: member.error for member in members}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_tarfile_finds_them(kind, tmp_path):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=kind) as archive:
        for number, name in enumerate(["a.jpg", "Kiwi/b.jpg", "Kiwi/" + "long" * 22 + "/c.jpg", "é/ü.jpg"]):
            info = tarfile.TarInfo(name)
            info.size = number * 700
            archive.addfile(info, io.BytesIO(bytes([number]) * info.size))
        folder = tarfile.TarInfo("Kiwi")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    content = sink.getvalue()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive if info.isfile()]
    assert [(member.name, member.offset, member.size) for member in scan(content)] == expected
    assert all(member.error is None for member in scan(content))


def test_a_very_long_name_is_read_and_an_absurd_one_refused():
    long, absurd = "a/" * 1000 + "b.jpg", "a/" * 3000 + "b.jpg"
    content = archives.member(long, b"1") + archives.member(absurd, b"2") + archives.member("c.jpg", b"3")
    found = scan(content + archives.END)
    assert [found[0].name, found[2].name] == [long, "c.jpg"]
    assert found[1].error == "BadName"
    assert len(found[1].name) < 200


def test_a_header_that_claims_gigabytes_of_name_costs_its_member_alone():
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        huge = archives.member("x", bytes(2**21), type=kind)
        content = (
            archives.member("a.jpg", b"1") + huge + archives.member("b.jpg", b"2") + archives.member("c.jpg", b"3")
        )
        assert names(content + archives.END) == {"a.jpg": None, "b.jpg": "BadHeader", "c.jpg": None}
        claimed = archives.member("x", b"", type=kind, size=2**60)
        assert names(claimed + archives.member("b.jpg", b"2")) == {"": "NotAnArchive"}
        assert "a.jpg" in names(archives.member("a.jpg", b"1") + claimed + archives.member("b.jpg", b"2"))


def test_headers_that_all_claim_the_same_megabyte_cost_it_once():
    claim = archives.member("x", type=tarfile.XHDTYPE, size=tar.MAX_EXTENSION_B)
    content = archives.member("a.jpg", b"1") + claim * 4096 + archives.member("b.jpg", b"2") + archives.END
    assert names(content)["a.jpg"] is None


@pytest.mark.parametrize("size", [2**63, 2**70, 10**19 - 1])
def test_a_size_that_no_table_could_hold_is_no_size(size):
    first, last = archives.member("a.jpg", b"1"), archives.member("c.jpg", b"3") + archives.END
    for header in (
        archives.member("b.jpg", size=size),
        archives.pax({"size": str(size)}) + archives.member("b.jpg"),
    ):
        assert all(member.size < 2**63 for member in scan(first + header + last))
        assert {"a.jpg": None, "c.jpg": None}.items() <= names(first + header + last).items()


def test_sizes_of_extended_headers_hold():
    content = archives.pax({"size": "3", "path": "Kiwi/é.jpg"}) + archives.member("x.jpg", b"abc", size=0)
    assert scan(content + archives.END) == [Member("Kiwi/é.jpg", 1536, 3)]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("/etc/a.jpg", "BadName"),
        ("../a.jpg", "BadName"),
        ("a/../../b.jpg", "BadName"),
        ("a//b.jpg", "BadName"),
        ("./a.jpg", None),
        ("././/a.jpg", None),
        ("..a/b..jpg", None),
        ("tab\there.jpg", None),
        (b"\xff\xfe.jpg", None),
    ],
)
def test_names(name, error):
    (found,) = scan(archives.member(name, b"1") + archives.END)
    assert found.error == error
    assert found.name.isprintable()


def test_what_is_no_file_is_said():
    kinds = {
        "link.jpg": (tarfile.SYMTYPE, "Link"),
        "hard.jpg": (tarfile.LNKTYPE, "Link"),
        "device.jpg": (tarfile.CHRTYPE, "NotAFile"),
        "block.jpg": (tarfile.BLKTYPE, "NotAFile"),
        "pipe.jpg": (tarfile.FIFOTYPE, "NotAFile"),
        "odd.jpg": (b"V", "NotAFile"),
    }
    content = b"".join(archives.member(name, type=kind, linkname="/etc/passwd") for name, (kind, _) in kinds.items())
    expected = {name: error for name, (_, error) in kinds.items()}
    assert names(content + archives.member("a.jpg", b"1") + archives.END) == expected | {"a.jpg": None}


def test_sparse_members_are_refused_and_those_behind_them_read():
    old = bytearray(archives.member("s.jpg", type=tarfile.GNUTYPE_SPARSE))
    old[482] = 1
    more = bytes(504) + b"\1" + bytes(7) + bytes(512)
    content = archives.signed(bytes(old[:512])) + more
    content += archives.pax({"GNU.sparse.major": "1", "GNU.sparse.name": "x"}) + archives.member("t.jpg", b"1")
    assert names(content + archives.member("a.jpg", b"1")) == {"s.jpg": "Sparse", "t.jpg": "Sparse", "a.jpg": None}


def test_sizes_below_nothing_and_beyond_the_end():
    negative = bytearray(archives.member("n.jpg"))
    negative[124:136] = b"\xff" * 12
    huge = archives.member("h.jpg", b"1", size=2**62)
    content = archives.member("a.jpg", b"1") + archives.signed(bytes(negative)) + huge + archives.member("b.jpg", b"2")
    found = names(content + archives.END)
    assert found == {"a.jpg": None, "@1024": "Damaged", "h.jpg": "Truncated", "b.jpg": None}


def test_a_truncated_archive_costs_its_last_member():
    content = b"".join(archives.member(f"{number}.jpg", bytes([1]) * 900) for number in range(5)) + archives.END
    for end in (*range(1, len(content), 7), 512, 1412, 1536, 2048):
        found = scan(content[:end])
        whole = [member for member in found if member.error is None]
        assert len(whole) == sum(number * 1536 + 512 + 900 <= end for number in range(5))
        assert len(found) - len(whole) <= 1


def test_damage_costs_what_is_damaged():
    content = bytearray(b"".join(archives.member(f"{number}.jpg", bytes([1]) * 900) for number in range(5)))
    content[1536:1600] = b"\xee" * 64
    assert names(bytes(content)) == {
        "0.jpg": None,
        "@1536": "Damaged",
        **{f"{number}.jpg": None for number in (2, 3, 4)},
    }


def test_archives_one_behind_the_other_are_all_read():
    assert names(archives.member("a.jpg", b"1") + bytes(10240) + archives.member("b.jpg", b"2") + archives.END) == {
        "a.jpg": None,
        "b.jpg": None,
    }


def test_what_is_no_archive_is_said_by_its_cause():
    for content, error in ((gzip.compress(b"x" * 9999), "Compressed"), (b"\xff\xd8" * 999, "NotAnArchive")):
        (found,) = scan(content.ljust(1024, b"x"))
        assert (found.name, found.error) == ("", error)
    assert scan(bytes(10240)) == []
    assert scan(b"") == []


def test_headers_without_end_before_a_member():
    chain = archives.pax({"comment": "x"}) * 5000
    found = scan(archives.member("a.jpg", b"1") + chain + archives.member("b.jpg", b"2") + archives.END)
    assert [member.name for member in found] == ["a.jpg", "@1024", "b.jpg"]


def test_any_damage_ends_and_reads_no_byte_twice_over():
    whole = b"".join(archives.member(f"{'x' * 40 * number}{number}.jpg", b"12345" * number) for number in range(9))
    whole += archives.pax({"path": "Kiwi/a.jpg"}) + archives.member("x.jpg", b"1") + archives.END
    dice = random.Random(7)
    for _ in range(200):
        broken = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            start = dice.randrange(len(broken))
            broken[start : start + dice.randint(1, 30)] = dice.randbytes(dice.randint(1, 30))
        found = scan(bytes(broken[: dice.randint(1, len(broken))]))
        assert all(0 <= member.offset <= len(broken) for member in found)
        assert all(member.error or member.offset + member.size <= len(broken) for member in found)


def test_countless_members_take_no_memory():
    block, count = archives.member("a.jpg"), 20_000
    tracemalloc.start()
    found = sum(1 for _ in tar.scan(lambda _, length: block[:length], count * tar.BLOCK_B))
    _, peak_b = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == count
    assert peak_b < 2**18
