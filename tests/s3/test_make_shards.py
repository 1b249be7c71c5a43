"""make shards, to S3."""

from pathlib import Path

import obstore
import pytest

from data import shards as command
from tests.s3.proxy import Fault


@pytest.fixture
def make(bucket, photos, monkeypatch):
    monkeypatch.setattr(command, "SHARD_B", 8192)

    def call() -> int:
        return command.main(["--input", str(photos), "--output", f"s3://{bucket.name}/images/p", "--target", "local"])

    return call


def objects(bucket) -> dict[str, bytes]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="images/p/").get("Contents", [])
    return {each["Key"]: bucket.client.get_object(Bucket=bucket.name, Key=each["Key"])["Body"].read() for each in found}


def test_the_same_archives_as_in_a_folder_and_what_is_there_stays(make, bucket, proxy, photos, tmp_path, capsys):
    assert make() == 0
    there = objects(bucket)
    assert command.main(["--input", str(photos), "--output", str(tmp_path / "packed")]) == 0
    assert {Path(key).name: data for key, data in there.items()} == {
        path.name: path.read_bytes() for path in (tmp_path / "packed").iterdir()
    }
    bucket.client.delete_object(Bucket=bucket.name, Key=min(there))
    capsys.readouterr()
    proxy.clear()
    assert make() == 0
    assert f"1 written, {len(there) - 1} were there" in capsys.readouterr().out
    assert sum(request.startswith(("PUT", "POST")) for request in proxy.requests) == 1
    assert objects(bucket) == there


def test_a_proxy_of_the_network_is_not_asked_for_this_machine(make, bucket, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.com")
    assert make() == 0
    assert proxy.requests


def test_what_was_cut_off_goes_on_and_what_others_have_is_left(make, bucket, proxy, capsys):
    proxy.hit(Fault.DENIED, "^PUT .*images-000001", last=99)
    assert make() == 1
    assert "access denied" in capsys.readouterr().err
    proxy.clear()
    assert make() == 0
    first = min(objects(bucket))
    bucket.client.put_object(Bucket=bucket.name, Key=first, Body=b"mine")
    assert make() == 1
    assert "holds something else" in capsys.readouterr().err
    assert objects(bucket)[first] == b"mine"
    bucket.client.put_object(Bucket=bucket.name, Key="images/p/old.tar", Body=b"theirs")
    assert make() == 1
    assert "old.tar" in capsys.readouterr().err


@pytest.mark.parametrize("is_same", [True, False])
def test_what_came_between_the_look_and_the_sending_is_not_replaced(make, bucket, capsys, monkeypatch, is_same):
    assert make() == 0
    first = min(objects(bucket))
    if not is_same:
        bucket.client.put_object(Bucket=bucket.name, Key=first, Body=b"mine")
    there, get, looks = objects(bucket), obstore.get, list[str]()

    def look_too_early(opened, name, **options):
        if first.endswith(name):
            looks.append(name)
            if len(looks) == 1:
                raise FileNotFoundError(name)
        return get(opened, name, **options)

    monkeypatch.setattr(obstore, "get", look_too_early)
    capsys.readouterr()
    assert make() == (0 if is_same else 1)
    said = capsys.readouterr()
    assert "holds something else" in said.err or f"0 written, {len(there)} were there" in said.out
    monkeypatch.undo()
    assert objects(bucket) == there
