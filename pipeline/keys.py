"""Keys of S3 that are no paths: `//` in them, `..`, control characters. One in a page of a listing, and the store gives
none of that page; Hadoop's own client, which every cluster has beside Spark, gives them as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyspark.sql import SparkSession

_FAULT = re.compile(
    r"(?P<control>[\x00-\x1f\x7f-\x9f])|(?P<empty>^/|//)|(?P<dots>(?:^|/)\.\.?(?:/|$))|(?P<member>(?i:\.tar!))"
)
_WORDS = {
    "control": "a control character",
    "empty": "an empty segment, as in a//b,",
    "dots": "a segment . or ..",
    "member": "`.tar!`, the mark of an archive's member,",
}


@dataclass(frozen=True)
class Key:
    """An object: `name` below the prefix that was listed, `size` in bytes."""

    name: str
    size: int
    etag: str


@dataclass(frozen=True)
class Page:
    """A thousand keys at most, in their order, and whether there are more."""

    keys: list[Key]
    more: bool


def page(uri: str, *, after: str) -> Page:
    """The keys below `uri` that follow the name `after`. A page takes seconds: every key is asked for over a socket.

    Raises:
        Py4JError: the bucket cannot be listed.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    root = f"{prefix}/" if prefix else ""
    spark = SparkSession.builder.getOrCreate()
    jvm = spark._jvm
    assert jvm is not None  # noqa: S101 - a session has its JVM
    place = jvm.org.apache.hadoop.fs.Path(f"s3://{bucket}/")
    client = place.getFileSystem(spark._jsc.hadoopConfiguration()).getS3AInternals().getAmazonS3Client("odd keys")
    request = jvm.software.amazon.awssdk.services.s3.model.ListObjectsV2Request.builder().bucket(bucket)
    request = request.prefix(root).encodingType("url")
    if root + after:
        request = request.startAfter(root + after)
    answer = client.listObjectsV2(request.build())
    keys = [Key(entry.key().removeprefix(root), entry.size(), entry.eTag()) for entry in answer.contents()]
    return Page(keys, bool(answer.isTruncated()))


def fault(name: str) -> str | None:
    """Why a key cannot be read, or None where it can."""
    if name.isprintable() and "//" not in name and "/." not in name and name[:1] not in {"/", "."} and "!" not in name:
        return None  # ten times as fast as looking closely
    match = _FAULT.search(name)
    return f"{_WORDS[match.lastgroup or '']} in its key; rename the object" if match else None
