"""Pictures that take much: what is decoded, what waits, and what is refused before any work is done."""

import zlib
from contextlib import AbstractContextManager

import pytest
from PIL import Image, ImageFile

from pipeline import decoding, limits
from pipeline.decoding import UndecodableError, decode
from pipeline.limits import TooLargeError
from tests import bombs, pictures


def refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reason for which `data` is refused, before a pixel of it is decoded."""

    def load(self):
        raise AssertionError("it was decoded")

    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", load)
        with pytest.raises(UndecodableError) as caught:
            decode(data, size=32)
    assert isinstance(caught.value.__cause__, TooLargeError)
    return str(caught.value)


class HeldError(Exception):
    """Ends the decoding of a picture where it is about to hold memory."""

    def __init__(self, size_b: int) -> None:
        super().__init__(size_b)
        self.size_b = size_b


def held_b(data: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes that decoding wants of the budget; a picture that wants any is not decoded."""

    def hold(size_b: int) -> AbstractContextManager[None]:
        raise HeldError(size_b)

    with monkeypatch.context() as patch:
        patch.setattr(decoding.BUDGET, "hold", hold)
        try:
            decode(data, size=32)
        except HeldError as held:
            return held.size_b
    return 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bombs.webp(8_000, 8_000), "8000 × 8000 pixels take 1037 MB to decode, a task slot has 436 MB for that"),
        (bombs.webp(16_383, 16_383), "at most 100000000 are decoded"),
        (bombs.png(1, 100_000_000, colour=0), "1 × 100000000 pixels take 9"),
        (bombs.png(100_000_000, 1), "100000000 × 1 pixels take 20"),
        (bombs.png(10_001, 10_000), "10001 × 10000 pixels; at most 100000000 are decoded"),
        (bombs.progressive(10_000, 10_000), "10000 × 10000 pixels take 6"),
        (bombs.progressive(65_500, 65_500), "65500 × 65500 pixels in 10 scans; at most 2000000000"),
        (bombs.scans(500), "more than 100 scans"),
        (bombs.bmp_of_runs(6_000, 6_000), "6000 × 6000 pixels in runs; at most 25000000"),
        (bombs.gif(65_535, 65_535), "65535 × 65535 pixels; at most"),
        (bombs.texts(300), "300 compressed texts and profiles; at most 256 are read"),
        (bombs.png(8, 8, extra=bombs.png(5_000, 5_000)[8:33]), "in its first header"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_takes_more_than_is_given_is_refused_with_its_numbers(data, reason, monkeypatch):
    assert reason in refused(data, monkeypatch)


@pytest.mark.parametrize(
    ("data", "at_least_mb"),
    [
        (bombs.png(10_000, 10_000), 400),
        (bombs.png(10_000, 10_000, bits=16), 400),
        (bombs.png(10_000, 10_000, bits=16, colour=0), 200),
        (bombs.png(10_000, 10_000, colour=3), 100),
        (bombs.png(10_000, 10_000, bits=1, colour=0), 100),
        (bombs.webp(5_000, 5_000), 400),
        (bombs.progressive(6_000, 6_000), 216),  # the coefficients, though an eighth of it is decoded
        (bombs.gif(9_000, 9_000), 81),
        (bombs.bmp_of_runs(4_000, 4_000), 64),
    ],
    ids=["rgba", "rgba16", "grey16", "palette", "bilevel", "webp", "progressive", "gif", "runs"],
)
def test_large_pictures_are_counted_for_what_their_decoders_hold(data, at_least_mb, monkeypatch):
    size_b = held_b(data, monkeypatch)
    assert at_least_mb * 10**6 <= size_b <= (at_least_mb + 20) * 10**6


def test_small_pictures_ask_for_nothing(monkeypatch):
    assert not any(held_b(data, monkeypatch) for data in (bombs.scans(10), bombs.png(200, 200), bombs.webp(100, 100)))


def test_a_large_jpeg_is_decoded_small():
    assert (decode(bombs.jpeg(20_000, 20_000), size=32) == 128).all()


def test_a_jpeg_may_have_many_scans():
    assert decode(bombs.scans(limits.MAX_SCANS), size=32).shape == (32, 32, 3)


def test_scans_are_counted_where_a_baseline_jpeg_has_several_too(monkeypatch):
    whole = pictures.encode(pictures.pixels(1))
    start = whole.index(b"\xff\xda")
    alone = b"\xff\xda" + bytes((0, 8, 1, 1, 0, 0, 63, 0)) + whole[start + 14 : -2]  # of the first component alone
    assert "more than 100 scans" in refused(whole[:start] + alone * 500 + whole[-2:], monkeypatch)


def test_a_thumbnail_is_no_scan():
    thumbnail = bombs.scans(200, edge=8)
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    assert len(exif) < 65_000
    assert decode(pictures.encode(pictures.pixels(1), progressive=True, exif=exif), size=32).shape == (32, 32, 3)


def test_metadata_in_many_pieces_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(limits, "MANY_B", 2**10)
    monkeypatch.setattr(limits, "MAX_READS", 1000)
    pieces = {
        "jpeg": b"\xff\xd8" + b"\xff\xe5\0\2" * 2000 + pictures.encode(pictures.pixels(1))[2:],
        "png": bombs.png(8, 8, extra=bombs.chunk(b"abCd", b"") * 2000),
        "gif": b"GIF89a\x08\0\x08\0\0\0\0" + b"!\xfe" + b"\1x" * 2000 + b"\0,",
    }
    for data in pieces.values():
        assert refused(data, monkeypatch) == "its metadata lies in more pieces than are read"


def test_exif_that_grows_from_segment_to_segment_is_not_joined(monkeypatch):
    segment = b"\xff\xe1" + (65_000).to_bytes(2, "big") + b"Exif\0\0" + bytes(65_000 - 8)
    data = b"\xff\xd8" + segment * 40 + pictures.encode(pictures.pixels(1))[2:]
    assert "bytes of metadata before the picture" in refused(data, monkeypatch)


def test_exif_of_megabytes_costs_the_orientation_not_the_image():
    exif = b"MM\0*\0\0\0\x08" + b"\0\1" + b"\1\x12\0\3\0\x10\0\0" + b"\0\0\0\x1a" + bytes(4) + b"\0\6" * 2**20
    data = bombs.png(8, 8, extra=bombs.chunk(b"eXIf", exif))
    assert decode(data, size=8).shape == (8, 8, 3)


def test_a_profile_that_grows_is_refused():
    profile = bombs.chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2**24)))
    with pytest.raises(UndecodableError, match="too large"):
        decode(bombs.png(8, 8, extra=profile), size=8)


def test_a_wide_bmp_is_read_at_once(monkeypatch):
    sizes: list[int] = []
    monkeypatch.setattr(limits, "source", lambda data: Counted(data, sizes))
    data = pictures.encode(Image.new("RGB", (300_000, 1), "red"), "BMP")
    assert (decode(data, size=8) == (255, 0, 0)).all()
    assert max(sizes) >= 900_000


class Counted(limits.CountedReads):
    """Notes how much each read gives."""

    def __init__(self, data, sizes):
        super().__init__(data)
        self.sizes = sizes

    def read(self, size=-1, /):
        found = super().read(size)
        self.sizes.append(len(found))
        return found
