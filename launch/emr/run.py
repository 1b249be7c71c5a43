"""A run on EMR, from the package to the report; whatever goes wrong, what it started is ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from base import command_line, paths
from base.errors import EmrlabError
from launch import listing, needs, transfer
from launch.emr import artifacts, aws, cost, follow, logs, results, steps
from launch.emr.artifacts import Artifacts
from launch.emr.aws import AWS_ERRORS, EmrError
from launch.emr.follow import Clients, Show, Step
from launch.emr.lost_work import lost_work
from launch.emr.run_spec import RunSpec
from pipeline import summary
from pipeline.signals import Stopped

T = TypeVar("T")


def run(spec: RunSpec, agreed: cost.Estimate, *, show: Show) -> int:
    """Package, send, start, follow, fetch the results; exit code 0, or 130 where the user left it running.

    Raises:
        EmrError, StorageError, FetchError, ModelError: it went wrong; what was started has been ended.
        ClientError, BotoCoreError: AWS refuses.
    """
    region = spec.cluster.region
    access = artifacts.access(spec)
    access.key()  # for want of one, nothing is built
    spec = replace(spec, job=needs.with_jars(spec.job, spec.release))
    built = artifacts.build(spec)
    steps.check_packages(spec, built.wheelhouse.sha256)
    listing.show(spec.job, built.package, artifacts.packages(spec) if spec.job.requirements else None)
    sent = artifacts.send(spec, built, access)

    clients = Clients(emr=aws.client("emr", region), s3=aws.client("s3", region))
    before = _record(spec, sent, clients)
    step = steps.start(spec, sent, agreed, clients=clients, show=show)
    show(f"step {step.step} on cluster {step.cluster}; logs come to {spec.cluster.logs}{step.cluster}/")
    for name in spec.job.outputs:
        show(f"results come to {sent.job.places[name]}")
    started, stdout = datetime.now(UTC), logs.GrowingLog(logs.step(step.logs, step.cluster, step.step, "stdout"))
    deadline_s = cost.paid_s(agreed, max_usd=spec.max_usd)
    try:
        if not _follow(spec, step, stdout, deadline_s=deadline_s, clients=clients, show=show):
            return 130
    except EmrError as error:
        if not spec.job.is_own:
            raise
        _print_rest(stdout, clients)
        code = _noted("the job's exit code is not known", lambda: _exit_code(step, clients))
        if code is None:
            raise
        raise _told(f"{error}; the job's exit code is {code}", exit_code=code) from error

    try:
        came = transfer.bring_back(spec.job, sent.job, default=paths.OUT, access=access)
    except (EmrlabError, OSError) as error:
        there = ", ".join(sent.job.places[name] for name in spec.job.outputs)
        more = f"the step {step.step} has completed, and what it wrote stays in {there}"
        raise _told(f"{error}; {more}", exit_code=getattr(error, "exit_code", 1)) from error

    # The job has done its work, and it is here: of what cannot be had from now on a line says so, and no exit code.
    ran = _ran(spec, step, agreed, started=started, wheelhouse=built.wheelhouse.sha256, clients=clients, show=show)
    folder = paths.OUT / "runs" / step.step if spec.job.is_own else next(iter(came.values())).parent
    record = _noted(f"{results.RECORD} is not written", lambda: results.write_record(folder, spec, ran))
    if spec.job.is_own:
        _print_rest(stdout, clients)
        if spec.cluster_stays and not spec.in_emr_lab:
            show(f"EMR may bring the last of what the job printed within five minutes: {stdout.uri}")
        here = [*came.items(), *([("record", record)] if record else [])]
        lines = "".join(f"{name:<12}{os.path.relpath(path)}\n" for name, path in here)
        sys.stdout.write(lines + _came_to(spec, ran))
        return 0
    if after := _noted("what the job counted is not known", lambda: _record(spec, sent, clients)):
        if before.get("run") == after["run"]:
            after = summary.unchanged(after)
        sys.stdout.write(summary.format_summary(after))
    (page,) = came.values()
    sys.stdout.write(f"{_came_to(spec, ran)}report      {os.path.relpath(page)}\n")
    return 0


def _ran(
    spec: RunSpec,
    step: Step,
    agreed: cost.Estimate,
    *,
    started: datetime,
    wheelhouse: str,
    clients: Clients,
    show: Show,
) -> results.Ran:
    """What a step that has completed came to, as far as it can be had."""
    actual = _noted(
        "what the run cost is not known",
        lambda: results.bill(spec, step, started=started, clients=clients, show=show),
    )
    lost = _noted(
        "what went with machines is not known",
        lambda: lost_work(spec.cluster, step.cluster, emr=clients.emr, s3=clients.s3, since=started),
    )
    return results.Ran(step=step, started=started, agreed=agreed, actual=actual, lost=lost, wheelhouse=wheelhouse)


def _came_to(spec: RunSpec, ran: results.Ran) -> str:
    """The lines about what was lost and what it cost."""
    lost = ran.lost.words() if ran.lost else ""
    if ran.actual is None:
        return lost
    return lost + cost.words_after(ran.actual.usd, minutes=ran.actual.minutes, in_emr_lab=spec.in_emr_lab)


def _noted(otherwise: str, ask: Callable[[], T]) -> T | None:
    """What is asked once the run has ended; where it cannot be had, a line says so, and how the run ended stays.

    Args:
        otherwise: what is to be said then, before the cause.
        ask: asks.
    """
    try:
        return ask()
    except AWS_ERRORS as error:
        why = aws.explain(error)
    except (EmrlabError, OSError) as error:
        why = str(error)
    sys.stderr.write(f"warning: {otherwise}: {why}\n")
    return None


def _record(spec: RunSpec, sent: Artifacts, clients: Clients) -> dict[str, Any]:
    """What the job last wrote down of itself; empty where it does not, or has not yet."""
    if spec.job.record is None:
        return {}
    (name,) = spec.job.outputs
    return results.job_record(clients.s3, f"{sent.job.places[name]}/{spec.job.record}")


def _print_rest(stdout: logs.GrowingLog, clients: Clients) -> None:
    """What the job printed and is not shown yet, once EMR has brought it."""

    def brought() -> str:
        text = follow.wait_for_log(clients, stdout.uri, show=lambda _: None)
        if text is None:
            raise EmrError(f"its log has not come yet; it will lie in {stdout.uri}")
        return text

    command_line.write(stdout.rest(_noted("what the job printed is not here", brought) or ""), sys.stdout)


def _exit_code(step: Step, clients: Clients) -> int | None:
    """The job's own exit code, where its logs tell it."""
    texts = (logs.read(clients.s3, logs.step(step.logs, step.cluster, step.step, name)) for name in logs.OF_EXIT)
    return next((code for text in texts if text and (code := logs.exit_code(text))), None)


def _told(message: str, *, exit_code: int) -> EmrError:
    """An error with an exit code of its own."""
    told = EmrError(message)
    told.exit_code = exit_code
    return told


def _follow(
    spec: RunSpec, step: Step, stdout: logs.GrowingLog, *, deadline_s: float, clients: Clients, show: Show
) -> bool:
    """Follow the step to its end; False where the user would not wait for it.

    What this run started is ended when anything goes wrong, and when the user says so.
    """
    done = left = False
    try:
        printed = stdout if spec.job.is_own else None  # else what it came to stands in its record
        follow.follow(clients, step, deadline_s=deadline_s, show=show, stdout=printed)
        done = True
    except KeyboardInterrupt as stopped:
        left = not isinstance(stopped, Stopped) and _is_left_running(step)
        if left:
            ends = "after ten idle minutes" if spec.cluster_stays else "with its step"
            show(f"cluster {step.cluster} goes on and ends {ends}; make emr-status shows it")
            return False
        raise
    finally:
        if not done and not left:
            steps.end(spec, step, clients=clients, show=show)
    return True


def _is_left_running(step: Step) -> bool:
    """Ask at Ctrl-C; without a terminal, without an answer and at a second Ctrl-C the run is ended."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"\nleave {step.step} running, or end it? [leave/END] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in {"l", "leave"}
    except KeyboardInterrupt:
        return False
