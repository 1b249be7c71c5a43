"""The job on S3: moto's server, the AWS_* variables alone."""

import numpy as np
import obstore
import pyarrow as pa
import pytest

from pipeline import images, results, store
from pipeline.images import ListingSummary
from tests import contract, pictures

ODD = ("a b.jpg", "é ü.jpg", "a+b.jpg", "100%.jpg", "a%20b.jpg", "c#d.jpg", "q?.jpg", "\U0001f34b.jpg", "[x]*.jpg")


def test_the_same_results_as_in_a_folder(run, bucket, photos, tmp_path):
    for name in ODD:
        (photos / "Class 0" / name).write_bytes(pictures.encode(pictures.pixels(len(name))))
    (photos / "Class 1" / "bad.jpg").write_bytes(b"no image")
    (photos / "Class 1" / "Thumbs.db").write_bytes(b"x")
    bucket.put(photos, "in put/set")
    done = run(f"s3://{bucket.name}/in put/set", f"s3://{bucket.name}/out put")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == f"report      s3://{bucket.name}/out put/report.html"
    on_s3 = contract.check(f"s3://{bucket.name}/out put", listed=34, rejected=1)
    here = run(str(photos), str(tmp_path / "out"))
    assert here.returncode == 0, here.stdout
    contract.assert_same(on_s3, contract.check(str(tmp_path / "out"), listed=34, rejected=1))
    again = run(f"s3://{bucket.name}/in put/set", f"s3://{bucket.name}/out put")
    assert again.returncode == 0
    assert "34: 0 extracted, 33 already known" in again.stdout
    bucket.client.delete_object(Bucket=bucket.name, Key="in put/set/Class 0/0_0.jpg")
    bucket.client.put_object(
        Bucket=bucket.name, Key="in put/set/Class 2/9_0.jpg", Body=pictures.encode(pictures.pixels(9))
    )
    changed = run(f"s3://{bucket.name}/in put/set", f"s3://{bucket.name}/out put", "--components", "3")
    assert changed.returncode == 0, changed.stdout
    tables = contract.check(f"s3://{bucket.name}/out put", listed=34, rejected=1)
    assert tables.run["counts"]["extracted"] == 1
    assert "Class 0/0_0.jpg" not in set(tables.features["path"])


def test_a_listing_of_more_than_a_thousand_keys_is_one_request_a_thousand_and_no_head(bucket, server, monkeypatch):
    for number in range(1205):
        bucket.client.put_object(Bucket=bucket.name, Key=f"many/Kiwi/{number}.jpg", Body=b"x")
    summary = ListingSummary()
    listed = list(images.list_images(f"s3://{bucket.name}/many", summary))
    assert summary.labels == {"Kiwi": 1205}
    assert len({image.path for image in listed}) == 1205


def test_of_some_columns_the_others_are_not_fetched(bucket, monkeypatch):
    uri, vector = f"s3://{bucket.name}/table.parquet", np.random.default_rng(0).normal(size=(500, 4000))
    table = pa.table({"path": [f"{number}.jpg" for number in range(500)], "features": results.vectors(vector)})
    results.write_table(uri, table)
    lengths, open_reader = [], obstore.open_reader

    class Counted:
        """A reader that notes how much it gives."""

        def __init__(self, *args, **options):
            self.reader = open_reader(*args, **options)

        def __getattr__(self, name):
            return getattr(self.reader, name)

        def read(self, length):
            content = self.reader.read(length)
            lengths.append(len(content))
            return content

    monkeypatch.setattr(obstore, "open_reader", Counted)
    assert results.read_columns(uri, ["path"]).equals(table.select(["path"]))
    assert 0 < sum(lengths) < 2**18 < table.nbytes
    with pytest.raises(store.STORE_ERRORS):
        results.read_columns(f"s3://{bucket.name}/gone.parquet", ["path"])


BAD = {
    "Class 0//0_9.jpg": ("Class 0//0_9.jpg", "an empty segment"),
    "/0_9.jpg": ("/0_9.jpg", "an empty segment"),
    "Class 0/../0_9.jpg": ("Class 0/../0_9.jpg", "a segment . or .."),
    "Class 0/tab\t.jpg": ("Class 0/tab\\x09.jpg", "a control character"),
    "Class 0/escape\x1b[31m.jpg": ("Class 0/escape\\x1b[31m.jpg", "a control character"),
    "Class 1/next\x85.jpg": ("Class 1/next\\xc2\\x85.jpg", "a control character"),
    "Class 1/mark.jpg/": ("Class 1/mark.jpg", "it has no bytes"),
}


def test_keys_that_are_no_paths_are_rejected_and_all_others_are_there_once(run, bucket, photos, tmp_path):
    others = 1100  # so that the good and the bad come from two pages of the listing
    for name in BAD:
        bucket.client.put_object(Bucket=bucket.name, Key=f"in/{name}", Body=b"" if name.endswith("/") else b"x")
    for number in range(others):
        bucket.client.put_object(Bucket=bucket.name, Key=f"in/Class 0/a %2b{number:04}.txt", Body=b"x")
    for key in ("in/", "in/Class 0/", "in/Class 0//", "in/Class 2/"):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"")
    bucket.put(photos, "in")
    done = run(f"s3://{bucket.name}/in", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout
    tables = contract.check(str(tmp_path / "out"), listed=24 + len(BAD), rejected=len(BAD))
    messages = dict(zip(tables.rejected["path"], tables.rejected["message"], strict=True))
    assert messages.keys() == {path for path, _ in BAD.values()}
    for path, words in BAD.values():
        assert messages[path].startswith(words)
        assert path.isprintable()
    assert set(tables.rejected["stage"]) == {"list"}
    assert tables.run["counts"]["skipped"] == others + 3
    assert tables.labels == ["Class 0", "Class 1", "Class 2"]


@pytest.mark.parametrize(
    ("source", "environment", "words"),
    [
        ("s3://no-such-bucket-here/x", {}, "--input s3://no-such-bucket-here/x: the bucket does not exist"),
        ("s3://{bucket}/nothing", {}, "--input s3://{bucket}/nothing holds no file; it wants class folders of"),
        (
            "s3://{bucket}/x",
            {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"},
            "no answer from the server; check its address",
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_two(run, bucket, tmp_path, source, environment, words):
    done = run(source.format(bucket=bucket.name), str(tmp_path / "out"), **environment)
    assert done.returncode == 2
    assert words.format(bucket=bucket.name) in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_an_output_bucket_that_is_missing_is_said(run, bucket, photos):
    done = run(str(photos), "s3://no-such-bucket-here/out")
    assert done.returncode == 2
    assert done.stdout == (
        "error: --output s3://no-such-bucket-here/out cannot be written: "
        "the bucket does not exist; create it or correct the name\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<Code>AccessDenied</Code>", "access denied"),
        ("<Code>SignatureDoesNotMatch</Code>", "the key is refused"),
        ("<Code>InvalidAccessKeyId</Code>", "AWS_ACCESS_KEY_ID"),
        ("<Code>ExpiredToken</Code>", "AWS_SESSION_TOKEN"),
        ("301 Moved Permanently", "AWS_REGION"),
        (
            "status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code>",
            "its clock and this one's are over 15 minutes",
        ),
        ("No space left on device (os error 28)", "no space left"),
        ("error sending request\n\nDebug source:\n… InvalidCertificate(UnknownIssuer)", "certificate is not trusted"),
    ],
)
def test_what_a_store_says_is_put_into_words(text, words):
    assert words in store.explain(OSError(f"Generic S3 error: Error performing GET …: {text}"))
