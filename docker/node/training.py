"""Uses what the lab's programs use, in one process, so that Java loads it: driver, executor, daemons, S3A, event log."""

from __future__ import annotations

import contextlib
import tempfile
import urllib.request

import cds_training
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


def main() -> None:
    """A job on this process' own executor, then one on a cluster whose master and worker are this process too."""
    builder = SparkSession.builder
    with tempfile.TemporaryDirectory() as folder:
        builder.config("spark.eventLog.enabled", "true").config("spark.eventLog.dir", f"file:{folder}")
        cds_training.main(f"{folder}/job")
        builder.getOrCreate().stop()
        spark = builder.master("local-cluster[1,1,1024]").config("spark.executor.memory", "1g").getOrCreate()
        spark.range(4).repartition(2).collect()
        pages(spark, events=folder)
        # There is no server: what is loaded on the way to it is worth the try.
        with contextlib.suppress(Py4JJavaError):
            spark.read.parquet("s3://none/such")
        spark.stop()


def pages(spark: SparkSession, *, events: str) -> None:
    """The application's own pages and the history server, asked as a health check asks it."""
    context, deploy = spark.sparkContext, spark._jvm.org.apache.spark.deploy  # type: ignore[union-attr]
    conf = context._jsc.sc().conf().clone().set("spark.history.fs.logDirectory", f"file:{events}")
    history = deploy.history.HistoryServer(
        conf, deploy.history.FsHistoryProvider(conf), deploy.history.HistoryServer.createSecurityManager(conf), 0
    )
    history.bind()
    for address in (f"http://127.0.0.1:{history.boundPort()}", context.uiWebUrl):
        urllib.request.urlopen(f"{address}/api/v1/applications", timeout=30).read()
    history.stop()


if __name__ == "__main__":
    main()
