"""The one loop that follows a step: until its end or a deadline, through throttling and lost connections."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from launch.emr import logs
from launch.emr.aws import AwsError, EmrError, explain, is_passing, is_renewable, pages
from launch.emr.logs import Cause

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
class Seen:
    """One look: the states of cluster and step, and the reasons that EMR gives for them."""

    cluster: str
    step: str
    cluster_reason: dict[str, str]
    failure: dict[str, str]


def follow(clients: Clients, step: Step, *, deadline_s: float, show: Show) -> None:
    """Show the states and the job's progress until the step is done.

    Args:
        clients: EMR and S3.
        step: to be followed.
        deadline_s: from now.
        show: takes a line for the user.

    Raises:
        EmrError: the step did not complete, or not in time.
        ClientError, BotoCoreError: AWS refuses, not just now.
    """
    stderr = logs.step(step.logs, step.cluster, step.step)
    shown, version = "", None
    for seen in _looks(clients, lambda: look(clients.emr, step), deadline_s=deadline_s, show=show):
        line = f"cluster {seen.cluster.lower()}, step {seen.step.lower()}"
        if line != shown:
            show(line)
            shown = line
        if seen.step == "COMPLETED":
            return
        if seen.step in DONE or seen.cluster in ENDED:
            raise EmrError(_why(clients, step, seen, show=show))
        if seen.step == "RUNNING":
            newest = _patient(logs.version, clients.s3, stderr)
            if newest and newest != version:
                version = newest
                if text := logs.progress(_patient(logs.read, clients.s3, stderr) or ""):
                    show(text)
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

    for found in _looks(clients, state, deadline_s=END_S, show=show):
        if found in ENDED:
            return found
    raise EmrError(f"cluster {cluster} has not ended after {END_S / 60:.0f} minutes; look at it in the EMR console")


def look(emr: Any, step: Step) -> Seen:
    """The states as they are now.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    cluster = emr.describe_cluster(ClusterId=step.cluster)["Cluster"]["Status"]
    status = emr.describe_step(ClusterId=step.cluster, StepId=step.step)["Step"]["Status"]
    return Seen(
        cluster["State"], status["State"], cluster.get("StateChangeReason", {}), status.get("FailureDetails", {})
    )


def _looks(clients: Clients, ask: Callable[[], T], *, deadline_s: float, show: Show) -> Iterator[T]:
    """What `ask` answers, again and again until the deadline; what is passing is outlasted."""
    started = answered = clients.clock()
    last, pause_s, told = None, INTERVAL_S[0], False
    while clients.clock() - started < deadline_s:
        try:
            found = ask()
        except AwsError as error:
            if not (is_passing(error) or is_renewable(error)):
                raise
            if not told and (is_renewable(error) or clients.clock() - answered > UNREACHED_S):
                show(f"{explain(error)}; trying on")
                told = True
        else:
            answered, told = clients.clock(), False
            yield found
            pause_s = INTERVAL_S[0] if found != last else min(pause_s * 1.5, INTERVAL_S[1])
            last = found
        clients.sleep(pause_s)


def _patient(ask: Callable[[Any, str], str | None], s3: Any, uri: str) -> str | None:
    """The answer, or None where it may come a little later."""
    try:
        return ask(s3, uri)
    except AwsError as error:
        if not (is_passing(error) or is_renewable(error)):
            raise
        return None


def _why(clients: Clients, step: Step, seen: Seen, *, show: Show) -> str:
    """Why the step did not complete: cause, fix and log, in one line."""
    stderr = logs.step(step.logs, step.cluster, step.step)
    if seen.step == "FAILED":
        cause = _step_cause(clients, step, seen, show=show)
        return _sentence(f"the step {step.step} failed", cause, log=stderr)
    code = seen.cluster_reason.get("Code", "")
    if code == "BOOTSTRAP_FAILURE":
        return _bootstrap_failure(clients, step, seen, show=show)
    if code and code not in {"ALL_STEPS_COMPLETED", "STEP_FAILURE"}:
        cause = logs.cluster_cause(seen.cluster_reason)
        return _sentence(f"cluster {step.cluster} ended ({code})", cause, log=logs.folder(step.logs, step.cluster))
    cause = Cause("not by this command", "run it again")
    return _sentence(f"the step {step.step} was {seen.step.lower()}", cause, log=stderr)


def _step_cause(clients: Clients, step: Step, seen: Seen, *, show: Show) -> Cause:
    text = "".join(
        _late(clients, logs.step(step.logs, step.cluster, step.step, name), show=show) or ""
        for name in ("stdout", "stderr")
    )
    found = logs.cause(text)
    return found or Cause(seen.failure.get("Message") or seen.failure.get("Reason") or "EMR gives no reason", "")


def _bootstrap_failure(clients: Clients, step: Step, seen: Seen, *, show: Show) -> str:
    message = seen.cluster_reason.get("Message", "")
    instances = re.findall(r"\bi-[0-9a-z]+", message)
    if not instances:
        listed = pages(clients.emr, "list_instances", "Instances", ClusterId=step.cluster)
        instances = [instance["Ec2InstanceId"] for instance in listed if "Ec2InstanceId" in instance]
    what = "the bootstrap action failed"
    for instance in instances:
        uri = logs.bootstrap(step.logs, step.cluster, instance)
        if cause := logs.bootstrap_cause(_late(clients, uri, show=show) or ""):
            return _sentence(f"{what} on {instance}", cause, log=uri)
    return _sentence(what, Cause(message or "EMR gives no reason", ""), log=logs.folder(step.logs, step.cluster))


def _late(clients: Clients, uri: str, *, show: Show) -> str | None:
    """A log's text, waited for until EMR has surely brought it."""
    started, said = clients.clock(), False
    while True:
        text = _patient(logs.read, clients.s3, uri)
        if text is not None or clients.clock() - started > LOGS_S:
            return text
        if not said:
            show("waiting for the log, which EMR brings within five minutes")
            said = True
        clients.sleep(INTERVAL_S[1])


def _sentence(what: str, cause: Cause, *, log: str) -> str:
    return "; ".join([f"{what}: {cause.text}", *([cause.fix] if cause.fix else []), f"log: {log}"])
