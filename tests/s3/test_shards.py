"""How many requests a photograph costs, as a file and in an archive; archives that change under a run."""

from __future__ import annotations

import re

import pytest

from pipeline import images, loading, results, shards
from pipeline.images import ImageRef, ListingSummary
from pipeline.loading import DecodedImage, Rejected
from pipeline.report_sample import EXAMPLES
from pipeline.tar import Member
from tests import archives, contract, pictures
from tests.s3.proxy import Proxy

IMAGES = 1000


@pytest.fixture(scope="module")
def photographs() -> dict[str, bytes]:
    """Of two classes, ten of them over and over."""
    data = [pictures.encode(pictures.pixels(number, hue=number % 2)) for number in range(10)]
    return {f"Class {number % 2}/{number:04}.jpg": data[number % 10] for number in range(IMAGES)}


def packed(photographs: dict[str, bytes], *, with_index: bool) -> bytes:
    whole, placed = bytearray(), []
    for name, data in photographs.items():
        placed.append(Member(name, len(whole) + 512, len(data)))
        whole += archives.member(name, data)
    if with_index:
        whole += archives.member(shards.INDEX, shards.index(placed))
    return bytes(whole) + archives.END


def count(proxy: Proxy, method: str, name: str) -> int:
    return sum(bool(re.match(rf"{method} /[^?]*{name}", request)) for request in proxy.requests)


def load(uri: str) -> list[DecodedImage | Rejected]:
    return list(loading.load(list(images.list_images(uri, ListingSummary())), uri, size=32))


def test_a_file_costs_a_request_and_a_member_a_hundredth_at_most(bucket, proxy, photographs):
    some = dict(list(photographs.items())[:100])
    for name, data in some.items():
        bucket.client.put_object(Bucket=bucket.name, Key=f"files/{name}", Body=data)
    files = load(f"s3://{bucket.name}/files")
    assert count(proxy, "GET", r"\.jpg") == len(some)
    for name, with_index, most in (("indexed", True, 2), ("foreign", False, 3)):
        proxy.clear()
        key = f"{name}/a.tar"
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=packed(photographs, with_index=with_index))
        members = load(f"s3://{bucket.name}/{name}")
        assert len(members) == IMAGES
        assert count(proxy, "GET", r"a\.tar") <= most <= IMAGES / 100
        assert count(proxy, "HEAD", "") == 0
        squares = {member.image.path: member.rgb for member in members if isinstance(member, DecodedImage)}
        for file in files:
            assert isinstance(file, DecodedImage)
            assert (squares[f"a.tar!{file.image.path}"] == file.rgb).all()


def test_a_run_on_an_archive_asks_for_it_a_hundredth_of_its_images(run, bucket, proxy, photographs, tmp_path):
    bucket.client.put_object(Bucket=bucket.name, Key="in/a.tar", Body=packed(photographs, with_index=True))
    done = run(f"s3://{bucket.name}/in", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout
    contract.check(str(tmp_path / "out"), listed=IMAGES)
    assert len(results.parquet_files(str(tmp_path / "out" / results.FEATURES))) > 4, "tasks share an archive"
    assert count(proxy, "GET", r"a\.tar") <= IMAGES / 100 + EXAMPLES
    assert count(proxy, "HEAD", r".*a\.tar") == 0


def test_an_archive_that_is_replaced_while_a_run_reads_it_is_no_mixture(bucket, photographs):
    uri = f"s3://{bucket.name}/in"
    bucket.client.put_object(Bucket=bucket.name, Key="in/a.tar", Body=packed(photographs, with_index=True))
    listed: list[ImageRef] = list(images.list_images(uri, ListingSummary()))
    changed = dict(reversed(photographs.items()))
    bucket.client.put_object(Bucket=bucket.name, Key="in/a.tar", Body=packed(changed, with_index=True))
    outcomes = list(loading.load(listed, uri, size=32))
    assert {(outcome.stage, outcome.error) for outcome in outcomes if isinstance(outcome, Rejected)} == {
        ("fetch", "Replaced")
    }
    assert len(outcomes) == IMAGES
    bucket.client.delete_object(Bucket=bucket.name, Key="in/a.tar")
    (first, *_) = loading.load(listed, uri, size=32)
    assert isinstance(first, Rejected)
    assert (first.stage, first.error) == ("fetch", "NotFound")


def test_a_key_that_looks_like_a_member_is_rejected(bucket):
    bucket.client.put_object(Bucket=bucket.name, Key="in/a.tar!b.jpg", Body=b"x")
    (image,) = images.list_images(f"s3://{bucket.name}/in", ListingSummary())
    assert image.error == "BadKey"
