"""How much a run has to read, by how many requests: loose files, shards with and without an index, here and in S3."""

from pathlib import Path

import boto3
import pytest

from data import shards as making
from launch import storage
from launch.emr import s3_requests, workload
from launch.emr.s3_requests import Requests
from pipeline import shards
from tests import archives, pictures
from tests.emr.conftest import BUCKET, REGION

IMAGES = 6


@pytest.fixture
def packed(photos, tmp_path) -> Path:
    """A folder with an archive of all photographs, and its index."""
    folder = tmp_path / "packed"
    folder.mkdir()
    plan = making.plan(photos)
    ((name, images),) = plan.archives.items()
    making.build(images, folder / name)
    return folder


def test_an_object_takes_a_request_or_its_parts():
    part = storage.PART_BYTES
    assert [s3_requests.puts(size) for size in (0, 1, part, part + 1, 3 * part)] == [1, 1, 1, 4, 5]


def test_a_shard_takes_its_index_and_its_spans():
    size = 32 * shards.SPAN_B
    assert s3_requests.shard_gets(size, is_indexed=True) == 1 + 32
    assert s3_requests.shard_gets(size, is_indexed=False) == 1 + 32 + size // shards.WINDOW_B


def test_a_million_photographs_fill_shards_to_the_last():
    found = s3_requests.in_shards(10**6, 5 * 10**9)
    whole, rest = divmod(5 * 10**9 + 10**6 * s3_requests.HEADER_B, shards.SHARD_B)
    assert rest
    assert found.puts == whole * (16 + 2) + s3_requests.puts(rest)
    assert found.gets <= 10**6 / 500
    assert s3_requests.in_shards(0, 0) == Requests(puts=0, gets=0)


def test_loose_files_are_sent_and_read_one_by_one_and_said_to_be_fewer_in_shards(ready, make_spec, photos):
    spec = make_spec(input=str(photos))
    found = workload.measure(spec, {})
    assert found.images == IMAGES
    assert found.requests == Requests(puts=IMAGES, gets=IMAGES)
    assert found.in_shards == s3_requests.in_shards(IMAGES, found.size_bytes)
    stored = {file.name: file.size for file in storage.files(photos)}
    assert workload.measure(spec, stored).requests == Requests(puts=0, gets=IMAGES)


def test_a_folder_of_shards_has_the_images_of_their_indexes(ready, make_spec, packed):
    found = workload.measure(make_spec(input=str(packed)), {})
    (shard,) = packed.iterdir()
    assert found.images == IMAGES
    assert found.requests == Requests(puts=1, gets=2)
    assert (found.size_bytes, found.upload_bytes) == (shard.stat().st_size, shard.stat().st_size)
    assert found.in_shards is None


def test_a_shard_without_an_index_is_taken_for_images_of_a_size(ready, make_spec, photos, tmp_path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "0.tar").write_bytes(archives.of_folder(photos) + bytes(5 * workload.IMAGE_B))
    size = (folder / "0.tar").stat().st_size
    pictures.write_set(folder / "loose", classes=1, views=2)
    found = workload.measure(make_spec(input=str(folder)), {})
    assert found.images == 2 + size // workload.IMAGE_B
    assert found.requests == Requests(puts=3, gets=2 + 3)


def test_shards_in_s3_are_asked_for_their_indexes_by_a_request_each(ready, make_spec, packed, photos):
    s3 = boto3.client("s3", region_name=REGION)
    (shard,) = packed.iterdir()
    s3.put_object(Bucket=BUCKET, Key="images/set/a.tar", Body=shard.read_bytes())
    s3.put_object(Bucket=BUCKET, Key="images/set/Kiwi/0.jpg", Body=b"x")
    spec = make_spec(input=f"s3://{BUCKET}/images/set")
    found = workload.of(spec, workload.stored_objects(spec))
    assert found.images == IMAGES + 1
    assert found.requests == Requests(puts=0, gets=1 + 2)
    assert found.in_shards is None


def test_an_empty_shard_has_no_end_to_ask_for(ready, make_spec, tmp_path):
    spec = make_spec(input=f"s3://{BUCKET}/images/set")
    assert workload.measure(spec, {"a.tar": 0}).images == 1, "S3 refuses a range of nothing"
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "a.tar").touch()
    assert workload.measure(make_spec(input=str(folder)), {}).images == 1


def test_a_plan_makes_no_client_which_a_wrong_profile_would_end(make_spec, photos, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert workload.planned(make_spec(input=str(photos))).images == IMAGES
