"""The commands that run on the nodes for steps and bootstrap actions, and what EMR reports when they end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from base import releases
from emr_lab.endpoint import serializers
from emr_lab.endpoint.records import Cluster, Session, Step
from emr_lab.endpoint.validation import COMMAND_RUNNER

# Fetches a script from S3 with the node's own rights, and becomes it.
_FETCH = (
    'set -e; file=$(mktemp -d)/$(basename "$1"); aws s3 cp --only-show-errors "$1" "$file"; chmod +x "$file"; '
    'shift; exec "$file" "$@"'
)
_TRACEBACK = "Traceback (most recent call last):"
# Py4J puts a Java exception on a line of its own, after ": ".
_ERROR_LINE = re.compile(r"^\s*(?:Caused by: |: )?(?:error: .+|[\w.$]*(?:Error|Exception)\b.*)$", re.IGNORECASE)

_IN_THREAD = re.compile(r'^Exception in thread "[^"]*" ')


class CommandError(Exception):
    """The command is not on the nodes: one line, as a shell says it."""


def script_command(uri: str, args: list[str]) -> list[str]:
    """Return the command that runs a script in S3."""
    return ["bash", "-c", _FETCH, "fetch", uri, *args]


def step_command(step: Step, cluster: Cluster) -> list[str]:
    """Return the command of a step.

    Raises:
        CommandError: it is an application's that the cluster has not got.
    """
    run = step.request["HadoopJarStep"]
    args = [str(arg) for arg in run.get("Args", [])]
    if run["Jar"] != COMMAND_RUNNER:
        return script_command(args[0], args[1:])
    has_spark = "spark" in map(str.lower, serializers.application_names(cluster))
    if PurePosixPath(args[0]).name.startswith(("spark", "pyspark", "run-example")) and not has_spark:
        raise CommandError(
            f'Cannot run program "{args[0]}": error=2, No such file or directory; '
            "the cluster's Applications do not have Spark"
        )
    return args


def yarn_tag(step: Step) -> str:
    """Return the tag of a step's YARN applications; YARN has tags in small letters."""
    return step.id.lower()


def environment(step: Step) -> dict[str, str]:
    """Return the variables that a step gets besides the node's own; Spark gives the tag to its YARN application."""
    return {"EMR_STEP_ID": step.id, "SPARK_SUBMIT_OPTS": f"-Dspark.yarn.tags={yarn_tag(step)}"}


def session_tag(session: Session) -> str:
    """Return the tag of a session's YARN application."""
    return session.id.lower()


def session_command(session: Session) -> list[str]:
    """Return the command that submits a session's server to YARN, and ends when it is submitted.

    spark-submit takes SparkConnectServer in client mode alone, where its memory would be nobody's to count. So what is
    submitted is `hadoop jar`, RunJar, which becomes the server: it asks for a jar that has no main class of its own.
    """
    settings = {
        **engine_settings(session.request),
        "spark.yarn.tags": session_tag(session),
        "spark.yarn.submit.waitAppCompletion": "false",
        # A second server would know nothing of the first one's views and caches.
        "spark.yarn.maxAppAttempts": "1",
        "spark.connect.grpc.binding.port": str(session.port),
        "spark.app.name": str(session.request["Name"]),
        # Whether it is busy is asked there: without it a session that was called once would never be idle again.
        "spark.ui.enabled": "true",
    }
    confs = [text for name, value in settings.items() for text in ("--conf", f"{name}={value}")]
    submit = ["spark-submit", "--load-spark-defaults", "--master", "yarn", "--deploy-mode", "cluster", *confs]
    # The server's token comes in a file: command lines are on YARN's pages and in the process list.
    run = (
        'umask 077 && file=$(mktemp) && echo "spark.connect.authenticate.token $SERVER_TOKEN" >"$file" && '
        'unset SERVER_TOKEN && submit=$1 && shift && exec "$submit" --properties-file "$file" "$@" '
        '"$(ls /usr/lib/spark/jars/spark-tags_*.jar)" org.apache.spark.sql.connect.service.SparkConnectServer'
    )
    return ["bash", "-c", run, "session", *submit, "--class", "org.apache.hadoop.util.RunJar", "spark-internal"]


def session_environment(token: str) -> dict[str, str]:
    """Return the variables of that command: its server's token, and a JVM that lives for seconds."""
    return {"SERVER_TOKEN": token, "SPARK_SUBMIT_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}


def engine_settings(request: Mapping[str, Any]) -> dict[str, str]:
    """Return what StartSession's EngineConfigurations set of Spark."""
    return {
        name: value
        for configuration in request.get("EngineConfigurations", [])
        for name, value in configuration.get("Properties", {}).items()
    }


def failure_details(code: int, *, stdout: str, stderr: str, log: str | None) -> dict[str, str]:
    """Return a step's FailureDetails: the last line that names an error, and where the log is.

    In client mode Spark gives a Python driver's stderr out as stdout; that of Java and of a shell stays where it is.
    """
    log_text = stdout if _TRACEBACK in stdout else stderr
    message = error_line(log_text) or f"The step's process ended with exit code {code}."
    details = {"Reason": "Unknown Error.", "Message": message}
    stream = "stdout" if log_text is stdout else "stderr"
    return details if log is None else {**details, "LogFile": f"{log}/{stream}.gz"}


def error_line(log: str) -> str | None:
    """Return the last line of a log that names an error, or None."""
    lines = [_IN_THREAD.sub("", line) for line in log.splitlines()]
    errors = [line.strip().removeprefix(": ") for line in lines if _ERROR_LINE.match(line)]
    return errors[-1][:500] if errors else None


def release_note(cluster: Cluster, ours: releases.Release) -> str:
    """Return the line for a cluster that asked for another release than the nodes are, else ""."""
    label = cluster.request["ReleaseLabel"]
    if label == ours.label:
        return ""
    return f"the cluster asked for {label} and runs on {ours.label}: Spark {ours.spark}, Hadoop {ours.hadoop}"


def controller_log(
    step: Step, argv: list[str], *, note: str = "", code: int | None = None, now_s: float = 0.0
) -> bytes:
    """Return a step's log `controller`: a `note`, what was started, and with `code` how it ended at `now_s`."""
    started_s = step.started_s or now_s
    lines = [f"{_stamp(started_s)} WARN {note}"] if note else []
    lines.append(f"{_stamp(started_s)} INFO startExec '{shlex.join(argv)}'")
    if code is not None:
        seconds, outcome = round(now_s - started_s), "succeeded" if code == 0 else "failed"
        lines += [
            f"{_stamp(now_s)} INFO total process run time: {seconds} seconds",
            f"{_stamp(now_s)} INFO Step {outcome} with exitCode {code} and took {seconds} seconds",
        ]
    return "".join(f"{line}\n" for line in lines).encode()


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
