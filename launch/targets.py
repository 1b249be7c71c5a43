"""The one table of what differs between the places where the job runs: every Spark setting, and why it is so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from base import sizing, spark_conf
from base.defaults import BUCKET
from base.sizing import Executors
from base.spark_conf import Setting
from pipeline.redaction import redacted

S3A = Path(__file__).parent / "s3a.conf"
PYTHON = "/opt/emrlab/bin/python"
LOCAL_SLOTS = 4  # as many partitions as do for a few cores


EVERYWHERE = (
    Setting("spark.dynamicAllocation.enabled", "false", "a fixed number of executors: what was estimated is what runs"),
)
SLOTS = "{slots}"  # stands for the number of task slots that a target has
# Of the image pipeline alone: another job has Spark's defaults, as it would on EMR.
IMAGES = (
    Setting("spark.sql.ansi.enabled", "true", "Spark 4's default, stated so that releases with Spark 3.5 behave alike"),
    Setting("spark.sql.shuffle.partitions", SLOTS, "one a task slot: every one is a task of 10 ms, 200 by default"),
    Setting("spark.python.worker.reuse", "true", "the model is built once in a worker process, not once a task"),
    Setting("spark.ui.showConsoleProgress", "false", "the job has a progress line of its own"),
    Setting("spark.sql.adaptive.enabled", "false", "the job sets its partitions; replanning small joins costs seconds"),
    Setting(
        "spark.sql.codegen.wholeStage",
        "false",
        "compiling a plan takes longer than running it: the JVM sees paths and small vectors, never features",
    ),
    Setting("spark.sql.catalogImplementation", "in-memory", "no table is kept: no Hive, no metastore folder"),
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
)
# Of every cluster.
CLUSTER = (
    Setting("spark.submit.deployMode", "client", "the driver on the master: its end is the job's, its words come here"),
    Setting("spark.driver.memory", "1g", "the driver holds names and counts; images and features never enter it"),
    Setting(
        "spark.locality.wait",
        "0s",
        "a free slot takes any task: names come cheap from another node, waiting 3 s for those near by left it idle",
    ),
    Setting(
        "spark.network.timeout",
        "60s",
        "an executor whose node has gone without a word is given up after one minute instead of two",
    ),
    Setting("spark.network.timeoutInterval", "10s", "and that minute is looked for every 10 s instead of every 60 s"),
    Setting("spark.eventLog.enabled", "true", "the history server shows the job when it has ended"),
)
# Of a session, in which a person asks Spark whatever they like; see `session`.
SESSION = (
    Setting("spark.connect.grpc.port.maxRetries", "0", "a port that is taken is told, not another one taken instead"),
)
SHARED = (
    Setting("spark.dynamicAllocation.enabled", "true", "a session that nobody asks anything gives its executors back"),
    Setting("spark.dynamicAllocation.shuffleTracking.enabled", "true", "no shuffle service keeps what they leave"),
    Setting("spark.dynamicAllocation.executorIdleTimeout", "60s", "Spark's own; others run in the lab meanwhile"),
    Setting("spark.dynamicAllocation.cachedExecutorIdleTimeout", "600s", "what they keep in memory is made again"),
)
LAB = (
    Setting("spark.master", "spark://spark-master:7077", "the lab's standalone master"),
    Setting("spark.eventLog.dir", spark_conf.event_logs(BUCKET), "the logs outlive the containers, as they do on EMR"),
)

VERBOSE = (Setting("spark.driver.extraJavaOptions", "-Demrlab.log=info -Demrlab.task.log=info", "--verbose"),)


def local(
    locations: Iterable[str], conf_overrides: Mapping[str, str] | None = None, *, own: Iterable[Setting] = ()
) -> list[Setting]:
    """The settings of a run on this machine, with S3A where one of the `locations` is on S3.

    Here and below `own` are those that the job wants, which come before the target's, and `conf_overrides` those of who
    runs it, which come before both.
    """
    on_s3 = any(location.startswith("s3://") for location in locations)
    target = (*LOCAL, *EVERYWHERE, *(s3a() + _server() if on_s3 else ()))
    return _merge(target, own, conf_overrides or {}, slots=LOCAL_SLOTS)


def lab(
    shape: Executors,
    conf_overrides: Mapping[str, str] | None = None,
    *,
    own: Iterable[Setting] = (),
    python: str = PYTHON,
    verbose: bool = False,
) -> list[Setting]:
    """The settings of a run in the Docker lab. S3A's are the cluster's own; `python` is
    the nodes' one with the job's packages.
    """
    slots = shape.cores * shape.instances
    cores = Setting("spark.cores.max", str(slots), "instances x cores: standalone counts cores, not instances")
    target = (*LAB, cores, *_executors(shape), *_python(python), *CLUSTER, *VERBOSE * verbose, *EVERYWHERE)
    return _merge(target, own, conf_overrides or {}, slots=slots)


def tables(run: str) -> Setting:
    """Where, in the Docker lab, the tables of the run of this name are that name no place themselves."""
    why = "a folder that all nodes have, where EMR has HDFS; a new one each run, whose tables no other run knows"
    return Setting("spark.sql.warehouse.dir", f"file:/mnt/warehouse/{run}", why)


def session(settings: Iterable[Setting], *, shared: Executors | None = None) -> list[Setting]:
    """The `settings` of a run made those of a session; with `shared` it grows up to these executors, and shrinks."""
    own = [*SESSION]
    if shared:
        most = Setting("spark.dynamicAllocation.maxExecutors", str(shared.instances), "those of a run")
        own += [*SHARED, most]
    taken = {"spark.executor.instances", *(setting.key for setting in own)}
    return [*(setting for setting in settings if setting.key not in taken), *own]


def emr(
    shape: Executors,
    conf_overrides: Mapping[str, str] | None = None,
    *,
    own: Iterable[Setting] = (),
    bucket: str,
    region: str,
) -> list[Setting]:
    """The settings of a run on Amazon EMR, whose event logs go to `bucket` (a name).

    YARN, S3A and HDFS are as EMR sets them, but for S3A's patience.
    """
    patience = [setting for setting in s3a() if ".retry." in setting.key]
    of_emr = (
        Setting("spark.executorEnv.AWS_REGION", region, "the job's own client reads no other place for it"),
        Setting("spark.eventLog.dir", spark_conf.event_logs(bucket), "HDFS ends with the cluster"),
        Setting(
            "spark.yarn.heterogeneousExecutors.enabled",
            "false",
            "EMR's own, on by default: executors of other sizes, cut to what a node has left; ours fit the model",
        ),
    )
    target = (*of_emr, *_executors(shape), *_python(PYTHON), *CLUSTER, *EVERYWHERE, *patience)
    return _merge(target, own, conf_overrides or {}, slots=shape.cores * shape.instances)


def s3a() -> list[Setting]:
    """S3A's settings, the same wherever the job runs."""
    return spark_conf.read(S3A)


def explain(settings: Iterable[Setting]) -> str:
    """The table as text, without secrets."""
    return "".join(
        f"{setting.key} = {redacted(setting.key, setting.value)}\n    {setting.reason}\n" for setting in settings
    )


def _python(python: str) -> tuple[Setting, ...]:
    return (
        Setting("spark.pyspark.python", python, "the job's own packages, at the same place on every node"),
        Setting("spark.pyspark.driver.python", python, "the same for the driver"),
    )


def _executors(shape: Executors) -> tuple[Setting, ...]:
    heap, overhead = sizing.memory_text(shape.heap_mb), sizing.memory_text(shape.overhead_mb)
    return (
        Setting("spark.executor.cores", str(shape.cores), "one task slot a core: LiteRT runs on one thread in each"),
        Setting("spark.executor.memory", heap, "the heap schedules and shuffles; images and features never enter it"),
        Setting("spark.executor.memoryOverhead", overhead, "the Python process and the model of every core live here"),
        Setting("spark.executor.instances", str(shape.instances), "what the nodes hold beside YARN's own master"),
    )


def _merge(
    target: Iterable[Setting], own: Iterable[Setting], conf_overrides: Mapping[str, str], *, slots: int
) -> list[Setting]:
    """Each setting once, at the place where it stands first, as it stands last."""
    filled = (replace(setting, value=str(slots)) if setting.value == SLOTS else setting for setting in own)
    given = (Setting(key, value, "given on the command line") for key, value in conf_overrides.items())
    return list({setting.key: setting for setting in (*target, *filled, *given)}.values())


def _address() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _server() -> list[Setting]:
    """Where the S3 is that the AWS_* variables name."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return spark_conf.s3a_server(address=_address() or None, region=region)
