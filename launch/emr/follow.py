"""The one loop that follows a step: until its end or a deadline, through throttling and lost connections."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from base import command_line
from launch.causes import Cause
from launch.emr import logs
from launch.emr.aws import AWS_ERRORS, EmrError, explain, is_passing, is_renewable, pages

# Seconds between two looks: at once after a change, then ever more slowly. EMR throttles who asks every second.
INTERVAL_S = (2.0, 15.0)
LOGS_S = 360.0  # EMR brings logs every five minutes
END_S = 900.0
UNREACHED_S = 60.0  # of silence before it is said

ENDED = {"TERMINATED", "TERMINATED_WITH_ERRORS"}
DONE = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}

Show = Callable[[str], None]
T = TypeVar("T")


def real_s() -> float:
    """Seconds that go on while this machine sleeps, when nothing here does but a cluster bills, and know no clock set.

    On Linux Python's monotonic clock stands still meanwhile; on macOS this one does not.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What is asked, and the time; a test brings its own."""

    emr: Any
    s3: Any
    clock: Callable[[], float] = real_s
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step on its cluster, and where its logs come to."""

    cluster: str
    step: str
    logs: str


@dataclass(frozen=True)
class Snapshot:
    """The states of cluster and step at one moment, and the reasons that EMR gives for them."""

    cluster: str
    step: str
    cluster_reason: dict[str, str]
    failure: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What there is to see of a step at one moment: the states, and what came since the last look."""

    now: Snapshot
    progress: str
    printed: str


def follow(
    clients: Clients, step: Step, *, deadline_s: float, show: Show, stdout: logs.GrowingLog | None = None
) -> None:
    """Show the states, the job's progress and what it prints, as EMR brings it, until the step is done.

    Args:
        clients: EMR and S3.
        step: to be followed.
        deadline_s: from now.
        show: takes a line for the user.
        stdout: the step's, whose lines are written to this process's; None: nobody wants them.

    Raises:
        EmrError: the step did not complete, or not in time.
        ClientError, BotoCoreError: AWS refuses, not just now.
    """
    stderr, shown = logs.GrowingLog(logs.step(step.logs, step.cluster, step.step)), ""
    unreadable = set[str]()

    def new_lines(log: logs.GrowingLog) -> str:
        try:
            return log.new_lines(clients.s3)
        except AWS_ERRORS as error:  # which is no reason to end a step
            if not _may_pass(error) and log.uri not in unreadable:
                unreadable.add(log.uri)
                show(f"{log.uri} cannot be read: {explain(error)}")
            return ""

    def look() -> _Look:
        now = snapshot(clients.emr, step)
        if now.step != "RUNNING":
            return _Look(now=now, progress="", printed="")
        progress = logs.progress(new_lines(stderr)) or ""
        return _Look(now=now, progress=progress, printed=new_lines(stdout) if stdout else "")

    for seen in poll(clients, look, deadline_s=deadline_s, show=show):
        current = seen.now
        line = f"cluster {current.cluster.lower()}, step {current.step.lower()}"
        if line != shown:
            show(line)
            shown = line
        if current.step == "COMPLETED":
            return
        if current.step in DONE or current.cluster in ENDED:
            raise EmrError(_why(clients, step, current, show=show))
        if seen.progress:
            show(seen.progress)
        if seen.printed:
            command_line.write(seen.printed, sys.stdout)
    raise EmrError(
        f"the step {step.step} is still {shown.rpartition(' ')[2] or 'unknown'} after {deadline_s / 60:.0f} minutes, "
        "the time that MAX_USD pays for; look at its log, or raise MAX_USD"
    )


def wait_ended(clients: Clients, cluster: str, *, show: Show) -> str:
    """Wait until the cluster bills no more; returns its state.

    Raises:
        EmrError: it is still there after a quarter of an hour.
        ClientError, BotoCoreError: AWS refuses, not just now.
    """

    def state() -> str:
        return str(clients.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])

    for current in poll(clients, state, deadline_s=END_S, show=show):
        if current in ENDED:
            return current
    raise EmrError(f"cluster {cluster} has not ended after {END_S / 60:.0f} minutes; look at it in the EMR console")


def snapshot(emr: Any, step: Step) -> Snapshot:
    """The states as they are now.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    cluster = emr.describe_cluster(ClusterId=step.cluster)["Cluster"]["Status"]
    status = emr.describe_step(ClusterId=step.cluster, StepId=step.step)["Step"]["Status"]
    return Snapshot(
        cluster["State"], status["State"], cluster.get("StateChangeReason", {}), status.get("FailureDetails", {})
    )


def poll(
    clients: Clients,
    ask: Callable[[], T],
    *,
    deadline_s: float,
    show: Show,
    interval_s: tuple[float, float] | None = None,
) -> Iterator[T]:
    """What `ask` answers, again and again until the deadline; what is passing is outlasted.

    The last look is behind the deadline: a laptop may have slept past it, and what it left running be done long since.

    Args:
        clients: for the time.
        ask: looks.
        deadline_s: from now. The last look has UNREACHED_S for its answer: after a sleep the network comes late.
        show: takes a line for the user.
        interval_s: between two looks, the shortest, after a change, and the longest; None: INTERVAL_S.

    Raises:
        ClientError, BotoCoreError: AWS refuses, not just now.
    """
    shortest_s, longest_s = interval_s or INTERVAL_S
    started = answered = clients.clock()
    last, pause_s, is_announced = None, shortest_s, False
    over_s: float | None = None  # when it was seen first that the deadline has passed
    while over_s is None or clients.clock() - over_s < UNREACHED_S:
        if over_s is None and clients.clock() - started >= deadline_s:
            over_s = clients.clock()
        try:
            answer = ask()
        except AWS_ERRORS as error:
            if not _may_pass(error):
                raise
            if not is_announced and (is_renewable(error) or clients.clock() - answered > UNREACHED_S):
                show(f"{explain(error)}; trying on")
                is_announced = True
        else:
            answered, is_announced = clients.clock(), False
            yield answer
            if over_s is not None:
                return
            pause_s = shortest_s if answer != last else min(pause_s * 1.5, longest_s)
            last = answer
        clients.sleep(pause_s)


def _may_pass(error: Exception) -> bool:
    """Whether the same question may be answered later."""
    return is_passing(error) or is_renewable(error)


def _why(clients: Clients, step: Step, current: Snapshot, *, show: Show) -> str:
    """Why the step did not complete: cause, fix and log, in one line."""
    stderr = logs.step(step.logs, step.cluster, step.step)
    if current.step == "FAILED":
        cause = _step_cause(clients, step, current, show=show)
        return _sentence(f"the step {step.step} failed", cause, log=stderr)
    if current.cluster_reason.get("Code", "") not in {"", "ALL_STEPS_COMPLETED", "STEP_FAILURE"}:
        return why_ended(clients, step.cluster, current.cluster_reason, log_uri=step.logs, show=show)
    cause = Cause("not by this command", "run it again")
    return _sentence(f"the step {step.step} was {current.step.lower()}", cause, log=stderr)


def _step_cause(clients: Clients, step: Step, current: Snapshot, *, show: Show) -> Cause:
    text = "".join(
        _log_of_failure(clients, logs.step(step.logs, step.cluster, step.step, name), show=show)
        for name in ("stdout", "stderr")
    )
    return logs.cause(text) or Cause(
        current.failure.get("Message") or current.failure.get("Reason") or "EMR gives no reason", ""
    )


def why_ended(clients: Clients, cluster: str, reason: dict[str, str], *, log_uri: str, show: Show) -> str:
    """Why a cluster ended that was not to end: cause, fix and log, in one line.

    Args:
        clients: EMR and S3.
        cluster: its id.
        reason: EMR's StateChangeReason.
        log_uri: of the cluster.
        show: takes a line for the user.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    code, folder = reason.get("Code", ""), logs.folder(log_uri, cluster)
    if code != "BOOTSTRAP_FAILURE":
        return _sentence(f"cluster {cluster} ended ({code})", logs.cluster_cause(reason), log=folder)
    message = reason.get("Message", "")
    instances = re.findall(r"\bi-[0-9a-z]+", message)
    if not instances:
        listed = pages(clients.emr, "list_instances", "Instances", ClusterId=cluster)
        instances = [instance["Ec2InstanceId"] for instance in listed if "Ec2InstanceId" in instance]
    what = "the bootstrap action failed"
    for instance in instances:
        uri = logs.bootstrap(log_uri, cluster, instance)
        if cause := logs.bootstrap_cause(_log_of_failure(clients, uri, show=show)):
            return _sentence(f"{what} on {instance}", cause, log=uri)
    return _sentence(what, Cause(message or "EMR gives no reason", ""), log=folder)


def _log_of_failure(clients: Clients, uri: str, *, show: Show) -> str:
    """A log's text, or "": that it cannot be read is not why the step failed."""
    try:
        return wait_for_log(clients, uri, show=show) or ""
    except AWS_ERRORS as error:
        show(f"{uri} cannot be read: {explain(error)}")
        return ""


def wait_for_log(clients: Clients, uri: str, *, show: Show) -> str | None:
    """A log's text, waited for until EMR has surely brought it; None where it has not.

    Raises:
        ClientError, BotoCoreError: S3 refuses, not just now.
    """
    started, is_announced = clients.clock(), False
    while True:
        text = None
        try:
            text = logs.read(clients.s3, uri)
        except AWS_ERRORS as error:
            if not _may_pass(error):
                raise
        if text is not None or clients.clock() - started > LOGS_S:
            return text
        if not is_announced:
            show("waiting for the log, which EMR brings within five minutes")
            is_announced = True
        clients.sleep(INTERVAL_S[1])


def _sentence(what: str, cause: Cause, *, log: str) -> str:
    return "; ".join([f"{what}: {cause.text}", *([cause.fix] if cause.fix else []), f"log: {log}"])
