"""How many requests S3 bills for photographs, to send them and to read them: as loose files, and in tar archives.

Listing is left out: a request a thousand names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from launch.storage import PART_BYTES
from pipeline.shards import SHARD_B, SPAN_B, WINDOW_B

HEADER_B = 512 + 256 + 64  # of an image in an archive: header, half a block that is filled up, its line in the index


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests that write, and requests that read: S3 has a price for each."""

    puts: int
    gets: int


def puts(size_bytes: int) -> int:
    """Requests that send an object: one, or one for each part with one to begin and one to end."""
    return 1 if size_bytes <= PART_BYTES else math.ceil(size_bytes / PART_BYTES) + 2


def shard_gets(size_bytes: int, *, is_indexed: bool) -> int:
    """Requests that read an archive: its index, which is at its end, or its headers window by window, then its images
    span by span.
    """
    listing = 1 if is_indexed else 1 + math.ceil(size_bytes / WINDOW_B)
    return listing + math.ceil(size_bytes / SPAN_B)


def in_shards(images: int, size_bytes: int) -> Requests:
    """Requests of so many photographs in archives as `make shards` makes them: sent and read once."""
    packed_b = size_bytes + images * HEADER_B
    count, rest_b = divmod(packed_b, SHARD_B)
    sizes = {SHARD_B: count, rest_b: int(rest_b > 0)}
    return Requests(
        puts=sum(number * puts(size) for size, number in sizes.items()),
        gets=sum(number * shard_gets(size, is_indexed=True) for size, number in sizes.items()),
    )
