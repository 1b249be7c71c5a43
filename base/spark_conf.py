"""Spark's settings as files of the form spark-defaults.conf have them, and those that follow from where S3 is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from base.defaults import EVENT_LOGS


@dataclass(frozen=True)
class Setting:
    """A Spark setting and the reason for it."""

    key: str
    value: str
    reason: str


def read(file: Path) -> list[Setting]:
    """The settings of a file in the form of spark-defaults.conf; the reason for each is the comment above it.

    Raises:
        OSError: it cannot be read.
    """
    settings, reason = list[Setting](), list[str]()
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            reason.append(line.removeprefix("#").strip())
            continue
        if line.strip():
            key, *value = line.split(maxsplit=1)
            settings.append(Setting(key, "".join(value).strip(), " ".join(reason)))
        reason = []
    return settings


def s3a_server(*, address: str | None, region: str) -> list[Setting]:
    """Where S3 is: S3A reads none of the variables that say it to others.

    Args:
        address: like http://minio:9000, or None for Amazon's own.
        region: of the buckets.
    """
    settings = [Setting("spark.hadoop.fs.s3a.endpoint.region", region, "AWS_REGION; S3A reads no variable for it")]
    if address:
        secure = str(urlsplit(address).scheme == "https").lower()
        settings += [
            Setting("spark.hadoop.fs.s3a.endpoint", address, "AWS_ENDPOINT_URL_S3; S3A reads no variable for it"),
            Setting("spark.hadoop.fs.s3a.connection.ssl.enabled", secure, "as the address says"),
            Setting("spark.hadoop.fs.s3a.path.style.access", "true", "servers other than AWS have no name a bucket"),
        ]
    return settings


def event_logs(bucket: str) -> str:
    """Where Spark writes what its history server reads, in `bucket` (a name)."""
    return f"s3://{bucket}/{EVENT_LOGS.rstrip('/')}"
