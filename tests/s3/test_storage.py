"""Folders to S3 and results back, against moto's server."""

import io
import os
import re
import shutil
import threading

import obstore
import pytest

from launch import storage
from launch.s3_access import Access, Key
from launch.storage import Mirrored, StorageError
from pipeline import patience
from tests.s3.test_s3 import ODD

KEY = Key(key_id="test", secret="test")  # noqa: S106 - anything will do


@pytest.fixture
def access(server, bucket, monkeypatch):
    """The right key, while the user's own variables name another server, key and session."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    return Access(key=lambda: KEY, region="eu-west-3", address=server)


@pytest.fixture
def mirror(bucket, access):
    def call(folder, out=None, **more):
        uri = f"s3://{bucket.name}/images/set"
        return storage.mirror(folder, uri, access, live=False, out=out or io.StringIO(), **more)

    return call


@pytest.fixture
def folder(tmp_path):
    for name in ("Kiwi/0.jpg", "Kiwi/1.jpg", "Lime/0.jpg", *(f"Odd/{name}" for name in ODD)):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "set" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "set" / "Kiwi" / "._0.jpg").write_bytes(b"x")
    return tmp_path / "set"


def there(bucket, prefix="images/set/"):
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(prefix): entry["LastModified"] for entry in found}


def body(bucket, name):
    return bucket.client.get_object(Bucket=bucket.name, Key=f"images/set/{name}")["Body"].read()


def test_a_folder_becomes_the_objects_of_the_prefix(mirror, folder, bucket):
    names = {"Kiwi/0.jpg", "Kiwi/1.jpg", "Lime/0.jpg", *(f"Odd/{name}" for name in ODD)}
    assert mirror(folder) == Mirrored(len(names), len(names), 0)
    assert set(there(bucket)) == names, "names as they are, hidden files left behind"
    assert all(body(bucket, name) == name.encode() for name in names)


def test_what_lies_in_hidden_folders_stays_behind_where_spark_reads(mirror, folder, bucket):
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("https://token@example.com")
    files = mirror(folder).files
    assert ".git/config" in there(bucket), "the image pipeline reads it here, too"
    assert mirror(folder, hidden_folders=False) == Mirrored(files - 1, 0, 1)
    assert ".git/config" not in there(bucket)


def test_only_what_is_new_or_changed_is_sent_and_what_is_gone_is_removed(mirror, folder, bucket):
    first = mirror(folder)
    bucket.client.put_object(Bucket=bucket.name, Key="images/set-2/Kiwi/0.jpg", Body=b"a neighbour")
    assert mirror(folder) == Mirrored(first.files, 0, 0)
    os.utime(folder / "Kiwi" / "0.jpg", (1, 1))
    (folder / "Kiwi" / "1.jpg").write_bytes(b"kiwi/1.jpg")  # other content, same size
    (folder / "Lime" / "0.jpg").unlink()
    (folder / "Lime" / "1.jpg").write_bytes(b"new")
    assert mirror(folder) == Mirrored(first.files, 2, 1)
    assert body(bucket, "Kiwi/1.jpg") == b"kiwi/1.jpg"
    assert "Lime/0.jpg" not in there(bucket)
    assert there(bucket, "images/set-2/"), "what lies beside the prefix is not touched"


def test_without_pruning_what_is_gone_stays(mirror, folder, bucket):
    first = mirror(folder)
    (folder / "Lime" / "0.jpg").unlink()
    (folder / "Kiwi" / "1.jpg").write_bytes(b"another")
    assert mirror(folder, prune=False) == Mirrored(first.files - 1, 1, 0)
    assert (body(bucket, "Lime/0.jpg"), body(bucket, "Kiwi/1.jpg")) == (b"Lime/0.jpg", b"another")


def test_more_than_a_thousand_files(mirror, tmp_path, bucket):
    for number in range(1203):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{number}.jpg").write_bytes(b"x")
    assert mirror(tmp_path / "set") == Mirrored(1203, 1203, 0)
    assert mirror(tmp_path / "set") == Mirrored(1203, 0, 0)


@pytest.mark.parametrize("size", [0, storage.PART_BYTES, storage.PART_BYTES + 1])
def test_a_file_in_parts_is_known_again(mirror, tmp_path, size):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "large.bmp").write_bytes(os.urandom(size))
    assert mirror(tmp_path / "set") == Mirrored(1, 1, 0)
    assert mirror(tmp_path / "set") == Mirrored(1, 0, 0)


def test_an_upload_that_broke_off_goes_on_where_it_stopped(mirror, folder, bucket, monkeypatch):
    sent, real = list[str](), obstore.put

    def breaking(opened, name, file, **options):
        if len(sent) == 4:
            raise OSError("error sending request for url")
        sent.append(name)
        return real(opened, name, file, **options)

    monkeypatch.setattr(obstore, "put", breaking)
    monkeypatch.setattr(storage, "THREADS", 1)
    with pytest.raises(StorageError, match=r"cannot be sent to s3://.*: no answer from the server"):
        mirror(folder)
    assert len(there(bucket)) == 4
    monkeypatch.setattr(obstore, "put", real)
    assert mirror(folder) == Mirrored(12, 8, 0)


def test_files_are_sent_at_the_same_time(mirror, folder, monkeypatch):
    together, real = threading.Barrier(4), obstore.put

    def waiting(opened, name, file, **options):
        together.wait(timeout=30)  # breaks unless four are on their way
        return real(opened, name, file, **options)

    monkeypatch.setattr(obstore, "put", waiting)
    assert mirror(folder).sent == 12


def test_links_are_followed_and_a_loop_has_an_end(mirror, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.jpg").write_bytes(b"x")
    (folder / "Linked").symlink_to(tmp_path / "elsewhere")
    (folder / "Kiwi" / "loop").symlink_to(folder)
    (folder / "Kiwi" / "to lime").symlink_to(folder / "Lime")
    (folder / "Lime" / "to kiwi").symlink_to(folder / "Kiwi")  # neither lies in the other: a ring of two
    names = [file.name for file in storage.files(folder)]
    assert {"Linked/9.jpg", "Kiwi/to lime/0.jpg", "Lime/to kiwi/0.jpg", "Lime/to kiwi/1.jpg"} < set(names)
    assert len(names) == len(set(names)) == 16


def test_names_that_s3_does_not_take_go_under_names_that_it_does(mirror, tmp_path, bucket):
    names = {
        "tab\there.jpg": "tab\\x09here.jpg",
        "tab\\x09here.jpg": "tab\\x5cx09here.jpg",
        "bytes\udcff.jpg": "bytes\\xff.jpg",
    }
    (tmp_path / "set").mkdir()
    for name in names:
        (tmp_path / "set" / name).write_bytes(name.encode(errors="surrogateescape"))
    assert mirror(tmp_path / "set") == Mirrored(3, 3, 0)
    assert {there: body(bucket, there) for there in names.values()} == {
        there: name.encode(errors="surrogateescape") for name, there in names.items()
    }
    assert mirror(tmp_path / "set") == Mirrored(3, 0, 0)


def test_what_cannot_be_sent_stays_behind_and_what_is_there_of_it_stays_too(mirror, folder, bucket, unprivileged):
    first = mirror(folder)
    (folder / "Kiwi" / "0.jpg").unlink()
    os.mkfifo(folder / "Kiwi" / "0.jpg")  # reading it would wait for ever
    (folder / "Kiwi" / "none.jpg").symlink_to("nothing")
    (folder / "Kiwi" / "self.jpg").symlink_to("self.jpg")
    long = "x" * 240
    (folder / long / long / long / long / long).mkdir(parents=True)
    (folder / long / long / long / long / long / "0.jpg").write_bytes(b"x")
    (folder / "Lime").chmod(0)
    with unprivileged(folder):
        done = mirror(folder)
    assert (done.files, done.sent, done.removed) == (first.files - 2, 0, 0)
    assert {name[:15]: why for name, why in done.left.items()} == {
        "Kiwi/0.jpg": "neither a file nor a folder",
        "Kiwi/none.jpg": "a link that leads nowhere",
        "Kiwi/self.jpg": "a link that leads nowhere",
        "Lime": "permission denied",
        "x" * 15: "its name is longer than the 1,024 bytes that S3 takes; shorten it",
    }
    assert body(bucket, "Lime/0.jpg") == b"Lime/0.jpg"


def test_a_folder_that_cannot_be_read_is_no_empty_one(mirror, folder, bucket, unprivileged):
    first = mirror(folder)
    folder.chmod(0)
    with unprivileged(folder), pytest.raises(StorageError, match=f"{folder} cannot be read: permission denied"):
        mirror(folder)
    assert len(there(bucket)) == first.files


def test_etags_that_are_no_md5_are_remembered(mirror, folder, bucket, monkeypatch):
    """As where a key of KMS encrypts the bucket: the ETag tells nothing of the content."""
    etags, real_put, real_list = dict[str, str](), obstore.put, obstore.list

    def put(opened, name, file, **options):
        etags[name] = f'"{os.urandom(16).hex()}"'
        return {**real_put(opened, name, file, **options), "e_tag": etags[name]}

    def listing(opened, **_):
        return [[{**entry, "e_tag": etags[entry["path"]]} for entry in chunk] for chunk in real_list(opened)]

    monkeypatch.setattr(obstore, "put", put)
    monkeypatch.setattr(obstore, "list", listing)
    first = mirror(folder)
    assert mirror(folder) == Mirrored(first.files, 0, 0)
    times = (folder / "Kiwi" / "1.jpg").stat()
    (folder / "Kiwi" / "1.jpg").write_bytes(b"kiwi/1.jpg")  # same size
    os.utime(folder / "Kiwi" / "1.jpg", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert mirror(folder) == Mirrored(first.files, 1, 0)
    assert body(bucket, "Kiwi/1.jpg") == b"kiwi/1.jpg"
    assert mirror(folder) == Mirrored(first.files, 0, 0)
    etags["Kiwi/1.jpg"] = '"replaced by somebody"'
    assert mirror(folder) == Mirrored(first.files, 1, 0)


def test_progress_is_one_line_at_the_end_of_what_took_long(mirror, folder, monkeypatch):
    out, real = io.StringIO(), obstore.put

    def slow(opened, name, file, **options):
        shown.wait(timeout=30)
        return real(opened, name, file, **options)

    shown = threading.Event()
    monkeypatch.setattr(obstore, "put", slow)
    monkeypatch.setattr(storage, "LOG_S", 0.01)
    out.flush = shown.set  # type: ignore[method-assign]
    mirror(folder, out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("0/12 files sent to s3://")
    assert re.fullmatch(r"12/12 files sent to s3://\S+ · [\d.]+ MB/s · ETA 0 s", lines[-1])


def test_a_line_of_progress():
    said = storage.line(1200, 20160, sent=70_000_000, left=140_000_000, seconds=2.0, words="sent")
    assert said == "1,200/20,160 files sent · 35.0 MB/s · ETA 4 s"
    assert storage.line(0, 2, sent=0, left=5, seconds=0.0, words="sent").endswith("ETA not known yet")


def test_one_file_by_its_content_is_sent_once(bucket, access, tmp_path, monkeypatch):
    path, uri = tmp_path / "m.tflite", f"s3://{bucket.name}/artifacts/models/abc/m.tflite"
    path.write_bytes(b"model")
    storage.put(path, uri, access)
    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put", None)
        storage.put(path, uri, access)
    place = {"Bucket": bucket.name, "Key": "artifacts/models/abc/m.tflite"}
    assert bucket.client.get_object(**place)["Body"].read() == b"model"
    bucket.client.put_object(**place, Body=b"MODEL")  # by somebody else, of the same size
    storage.put(path, uri, access)
    assert bucket.client.get_object(**place)["Body"].read() == b"model"


def test_results_come_all_or_not_at_all(bucket, access, tmp_path):
    names = ["report.html", "run.json"]
    bucket.client.put_object(Bucket=bucket.name, Key="results/r/report.html", Body=b"new")
    (tmp_path / "report.html").write_bytes(b"old")
    with pytest.raises(StorageError, match=f"s3://{bucket.name}/results/r cannot be fetched into {tmp_path}: "):
        storage.fetch(f"s3://{bucket.name}/results/r", names, tmp_path, access)
    assert (tmp_path / "report.html").read_bytes() == b"old"
    bucket.client.put_object(Bucket=bucket.name, Key="results/r/run.json", Body=b"{}")
    storage.fetch(f"s3://{bucket.name}/results/r", names, tmp_path, access)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.html": b"new", "run.json": b"{}"}


def test_a_server_that_is_away_and_a_bucket_that_is_missing_are_said_in_one_line(folder, access, tmp_path):
    away = Access(key=lambda: KEY, region="eu-west-3", address="http://127.0.0.1:9")
    shutil.rmtree(folder / "Odd")
    for key, words in ((away, "no answer from the server"), (access, "the bucket does not exist")):
        for call in (
            lambda key=key: storage.mirror(folder, "s3://no-such-bucket-here/x", key, live=False),
            lambda key=key: storage.put(folder / "Kiwi" / "0.jpg", "s3://no-such-bucket-here/x/y", key),
        ):
            patience.first_contact()
            with pytest.raises(StorageError) as caught:
                call()
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<Code>AccessDenied</Code>", "access denied"),
        ("<Code>SignatureDoesNotMatch</Code>", "the key is refused"),
        ("507 Insufficient Storage: <Code>XMinioStorageFull</Code>", "the server's disk is full"),
        ("<Code>XMinioAdminBucketQuotaExceeded</Code>", "the server's disk is full"),
        ("No space left on device (os error 28)", "no space left on this machine's disk"),
    ],
)
def test_what_a_server_says_is_put_into_words(text, words):
    assert words in storage.explain(OSError(f"Generic S3 error: Error performing PUT …: {text}"))


def test_the_secret_is_not_in_what_python_prints():
    assert "hidden" not in repr(Key(key_id="k", secret="hidden", token="hidden"))  # noqa: S106
