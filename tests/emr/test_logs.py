"""What a step's and a bootstrap action's log say about their failure."""

import gzip
import io

import pytest

from launch.causes import Cause
from launch.emr import logs

TRACE = """26/11/22 10:00:00 INFO SparkContext: Running Spark version 4.1.1
Traceback (most recent call last):
  File "/tmp/spark-1/main.py", line 3, in <module>
{last}
26/11/22 10:00:09 INFO ShutdownHookManager: Shutdown hook called
"""
ON_EXECUTOR = """org.apache.spark.SparkException: Job aborted due to stage failure: Task 3 in stage 0.0 failed 4 times
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
{last}
"""
KILLED = (
    "WARN YarnSchedulerBackend: Container container_1_0001_01_000002 on host: ip-10-0-0-1 was killed. "
    "Reason: Container killed by YARN for exceeding physical memory limits. 10.3 GB of 10 GB physical memory used. "
    "Consider boosting spark.executor.memoryOverhead."
)
BEYOND = (
    "Container [pid=77,containerID=container_1] is running 2048B beyond the 'PHYSICAL' memory limit. "
    "Current usage: 10.0 GB of 10 GB physical memory used; 12 GB of 50 GB virtual memory used. Killing container."
)


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        (
            TRACE.format(last="ModuleNotFoundError: No module named 'obstore'"),
            "ModuleNotFoundError: No module named 'obstore' on the driver",
            "pyproject.toml's group job",
        ),
        (
            ON_EXECUTOR.format(last="ImportError: libGL.so.1: cannot open shared object file"),
            "ImportError: libGL.so.1: cannot open shared object file on an executor",
            "pyproject.toml's group job",
        ),
        (
            "Caused by: java.nio.file.AccessDeniedException: s3://mine/results/x/a.parquet: 403 Forbidden",
            "AccessDenied: s3://mine/results/x/a.parquet:",
            "emr-setup renews",
        ),
        (KILLED, "container killed by YARN: memory (10.3 GB of 10 GB)", "INSTANCE_TYPE"),
        (BEYOND, "container killed by YARN: memory (10.0 GB of 10 GB)", "INSTANCE_TYPE"),
        (f"{KILLED}\nerror: Job aborted; run again\n", "container killed by YARN: memory (10.3 GB of 10 GB)", ""),
        (
            "INFO\nerror: 40 of 90 images are rejected, over the limit of 10 (--max-rejected); look at them\nINFO\n",
            "40 of 90 images are rejected, over the limit of 10 (--max-rejected); look at them",
            "",
        ),
        (
            'java.io.IOException: Cannot run program "/opt/emrlab/bin/python": error=2, No such file or directory',
            "the job's Python is missing on a node",
            "without CLUSTER",
        ),
        (
            "WARN YarnScheduler: Initial job has not accepted any resources; check your cluster UI",
            "no executor started: YARN has no room for one",
            "INSTANCE_TYPE",
        ),
        (
            "Exception in thread main\nCaused by: java.net.UnknownHostException: nowhere",
            "java.net.UnknownHostException: nowhere",
            "",
        ),
        (TRACE.format(last="ZeroDivisionError: division by zero"), "ZeroDivisionError: division by zero", ""),
    ],
)
def test_the_cause_in_a_steps_log(text, said, fix):
    found = logs.cause(text)
    assert found
    assert found.text.startswith(said.rstrip(":"))
    assert fix in found.fix
    assert "\n" not in found.text


def test_a_log_without_an_error_has_no_cause():
    assert logs.cause("26/11/22 10:00:00 INFO SparkContext: Running Spark version 4.1.1\n") is None


def test_the_last_line_of_progress_counts():
    text = "1/9 images · 1 images/s · ETA 8 s · rejected 0\n26 INFO\r8/9 images · 4 images/s · ETA 1 s · rejected 0\n"
    assert logs.progress(text) == "8/9 images · 4 images/s · ETA 1 s"
    assert logs.progress("INFO") is None


def test_a_bootstrap_actions_last_word():
    for text, said in {
        "+ dnf\nemrlab: dnf install python3.11 failed\n": "dnf install python3.11 failed",
        "line 3: oops: command not found\n": "line 3: oops: command not found",
    }.items():
        assert logs.bootstrap_cause(text) == Cause(said, "")
    assert logs.bootstrap_cause("") is None


@pytest.mark.parametrize(
    ("reason", "said", "fix"),
    [
        (
            {
                "Code": "VALIDATION_ERROR",
                "Message": "You have requested more vCPU capacity than your current vCPU limit",
            },
            "more vCPU capacity",
            "Service Quotas",
        ),
        ({"Code": "INSTANCE_FLEET_TIMEOUT"}, "INSTANCE_FLEET_TIMEOUT", "without --spot"),
        ({"Code": "USER_REQUEST", "Message": "Terminated by user request"}, "somebody ended the cluster", "again"),
        ({"Code": "INTERNAL_ERROR", "Message": "Failed to start the job flow"}, "Failed to start", ""),
        ({}, "EMR gives no reason", ""),
    ],
)
def test_a_clusters_reason(reason, said, fix):
    found = logs.cluster_cause(reason)
    assert said in found.text
    assert fix in found.fix


def test_where_emr_lays_its_logs():
    """EMR answers with s3n:// what was given as s3://."""
    assert logs.step("s3n://mine/logs/", "j-1", "s-2") == "s3://mine/logs/j-1/steps/s-2/stderr.gz"
    assert logs.bootstrap("s3://mine/logs", "j-1", "i-3") == "s3://mine/logs/j-1/node/i-3/bootstrap-actions/1/stderr.gz"


def test_a_log_is_read_packed_unpacked_and_missing(stubs):
    s3 = stubs.client("s3")
    for content in (gzip.compress("größer\n".encode()), "größer\n".encode()):
        stubs.answer("s3", "get_object", {"Body": io.BytesIO(content)}, {"Bucket": "b", "Key": "logs/x.gz"})
        assert logs.read(s3, "s3://b/logs/x.gz") == "größer\n"
    stubs.refuse("s3", "get_object", "NoSuchKey", status=404)
    assert logs.read(s3, "s3://b/logs/x.gz") is None
    stubs.refuse("s3", "head_object", "404", status=404)
    assert logs.version(s3, "s3://b/logs/x.gz") is None
