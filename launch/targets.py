"""The one table of what differs between the places where the job runs: every Spark setting, and why it is so."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Setting:
    """A Spark setting and the reason for it."""

    key: str
    value: str
    reason: str


EVERYWHERE = (
    Setting("spark.sql.ansi.enabled", "true", "Spark 4's default, stated so that releases with Spark 3.5 behave alike"),
    Setting("spark.dynamicAllocation.enabled", "false", "a fixed number of executors: what was estimated is what runs"),
    Setting("spark.python.worker.reuse", "true", "the model is built once in a worker process, not once a task"),
    Setting(
        "spark.sql.execution.arrow.maxRecordsPerBatch", "1024", "paths in an Arrow batch: a task has as many at most"
    ),
    Setting("spark.ui.showConsoleProgress", "false", "the job has a progress line of its own"),
    Setting("spark.sql.adaptive.enabled", "false", "the job sets its partitions; replanning small joins costs seconds"),
    Setting(
        "spark.sql.parquet.compression.codec",
        "snappy",
        "read by everything; features hardly compress whatever the codec",
    ),
)
LOCAL = (
    Setting("spark.master", "local[*]", "one task slot a core: LiteRT runs on one thread in each"),
    Setting("spark.driver.memory", "1g", "driver and executor are this one JVM; images and features never enter it"),
    Setting("spark.driver.host", "127.0.0.1", "no name to resolve, no port open to others"),
    Setting("spark.driver.bindAddress", "127.0.0.1", "no port open to others"),
    Setting("spark.ui.enabled", "false", "nobody looks at a run of seconds; its web server takes one to start"),
    Setting(
        "spark.sql.codegen.wholeStage",
        "false",
        "compiling a plan takes longer than running it: the JVM sees paths and small vectors, never features",
    ),
    Setting("spark.sql.shuffle.partitions", "4", "200 by default, for clusters; here every one is a task of 10 ms"),
    Setting("spark.sql.catalogImplementation", "in-memory", "no table is kept: no Hive, no metastore folder"),
)
S3 = (
    Setting("spark.hadoop.fs.s3.impl", "org.apache.hadoop.fs.s3a.S3AFileSystem", "s3:// is S3A, as it is on EMR"),
    Setting("spark.hadoop.fs.AbstractFileSystem.s3.impl", "org.apache.hadoop.fs.s3a.S3A", "the same, for FileContext"),
    Setting("spark.hadoop.fs.s3a.directory.marker.retention", "delete", "no empty objects that stand for folders"),
    Setting("spark.hadoop.fs.s3a.committer.name", "magic", "a task's files appear when it commits, without renames"),
    Setting(
        "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3",
        "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
        "the committer for s3://; Hadoop knows it for s3a:// only",
    ),
    Setting(
        "spark.sql.sources.commitProtocolClass",
        "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
        "lets Spark use S3A's committers",
    ),
    Setting(
        "spark.sql.parquet.output.committer.class",
        "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
        "the same, for parquet",
    ),
    Setting(
        "spark.hadoop.fs.s3a.aws.credentials.provider",
        "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider",
        "the AWS_* variables, as the job's own client reads them; no key in a setting",
    ),
)


def local(locations: Iterable[str]) -> list[Setting]:
    """The settings of a run on this machine, with S3A where one of the `locations` is on S3."""
    on_s3 = any(location.startswith("s3://") for location in locations)
    return [*LOCAL, *EVERYWHERE, *(S3 + _server() if on_s3 else ())]


def explain(settings: Iterable[Setting]) -> str:
    """The table as text."""
    return "".join(f"{setting.key} = {setting.value}\n    {setting.reason}\n" for setting in settings)


def _address() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _server() -> tuple[Setting, ...]:
    """S3A does not read the address and the region that the AWS_* variables name."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    found = [Setting("spark.hadoop.fs.s3a.endpoint.region", region, "AWS_REGION; S3A reads no variable for it")]
    if address := _address():
        secure = str(urlsplit(address).scheme == "https").lower()
        found += [
            Setting("spark.hadoop.fs.s3a.endpoint", address, "AWS_ENDPOINT_URL_S3; S3A reads no variable for it"),
            Setting("spark.hadoop.fs.s3a.connection.ssl.enabled", secure, "as the address says"),
            Setting("spark.hadoop.fs.s3a.path.style.access", "true", "servers other than AWS have no name a bucket"),
        ]
    return tuple(found)
