"""A run on EMR, from the package to the report; whatever goes wrong, what it started is ended."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from base import command_line, paths
from launch import listing, needs, transfer
from launch.emr import artifacts, aws, cost, follow, logs, results, steps
from launch.emr.artifacts import Artifacts
from launch.emr.aws import EmrError
from launch.emr.follow import Clients, Show, Step
from launch.emr.lost_work import lost_work
from launch.emr.run_spec import RunSpec
from launch.s3_access import Access
from pipeline import summary
from pipeline.signals import Stopped


def run(spec: RunSpec, agreed: cost.Estimate, *, show: Show) -> int:
    """Package, send, start, follow, fetch the results; exit code 0, or 130 where the user left it running.

    Raises:
        EmrError, StorageError, FetchError, ModelError: it went wrong; what was started has been ended.
        ClientError, BotoCoreError: AWS refuses.
    """
    region = spec.cluster.region
    access = Access(key=aws.key, region=region, address=aws.endpoint("s3"))
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
    started = datetime.now(UTC)
    try:
        if not _follow(spec, step, deadline_s=cost.paid_s(agreed, max_usd=spec.max_usd), clients=clients, show=show):
            return 130
    except EmrError as error:
        if not spec.job.is_own:
            raise
        _print_stdout(step, clients)
        raise _with_code(error, step, clients) from error

    came = transfer.bring_back(spec.job, sent.job, default=paths.OUT, access=access)
    actual = results.bill(spec, step, started=started, clients=clients, show=show)
    lost = lost_work(spec.cluster, step.cluster, emr=clients.emr, s3=clients.s3, since=started)
    made = results.Ran(
        step=step, started=started, agreed=agreed, actual=actual, lost=lost, wheelhouse=built.wheelhouse.sha256
    )
    gone = "" if lost is None else lost.words()
    came_to = gone + cost.words_after(actual.usd, minutes=actual.minutes, in_emr_lab=spec.in_emr_lab)
    if spec.job.is_own:
        _print_stdout(step, clients)
        sys.stdout.write("".join(f"{name:<12}{os.path.relpath(path)}\n" for name, path in came.items()) + came_to)
        return 0
    (page,) = came.values()
    results.write_record(page.parent, spec, made)
    after = _record(spec, sent, clients)
    if before.get("run") == after["run"]:
        after = summary.unchanged(after)
    sys.stdout.write(f"{summary.format_summary(after)}{came_to}report      {os.path.relpath(page)}\n")
    return 0


def _record(spec: RunSpec, sent: Artifacts, clients: Clients) -> dict[str, Any]:
    """What the job last wrote down of itself; empty where it does not, or has not yet."""
    if spec.job.record is None:
        return {}
    (name,) = spec.job.outputs
    return results.job_record(clients.s3, f"{sent.job.places[name]}/{spec.job.record}")


def _print_stdout(step: Step, clients: Clients) -> None:
    """What the job printed, once EMR has brought it."""
    uri = logs.step(step.logs, step.cluster, step.step, "stdout")
    text = follow.wait_for_log(clients, uri, show=lambda _: None)
    if text is None:
        sys.stderr.write(f"warning: what the job printed has not come yet; it will lie in {uri}\n")
    else:
        sys.stdout.write(command_line.encodable(text, sys.stdout))


def _with_code(error: EmrError, step: Step, clients: Clients) -> EmrError:
    """The same error with the job's own exit code, where its logs tell it."""
    texts = (logs.read(clients.s3, logs.step(step.logs, step.cluster, step.step, name)) for name in logs.OF_EXIT)
    code = next((code for text in texts if text and (code := logs.exit_code(text))), None)
    if code is None:
        return error
    told = EmrError(f"{error}; the job's exit code is {code}")
    told.exit_code = code
    return told


def _follow(spec: RunSpec, step: Step, *, deadline_s: float, clients: Clients, show: Show) -> bool:
    """Follow the step to its end; False where the user would not wait for it.

    What this run started is ended when anything goes wrong, and when the user says so.
    """
    done = left = False
    try:
        follow.follow(clients, step, deadline_s=deadline_s, show=show)
        done = True
    except KeyboardInterrupt as stopped:
        left = not isinstance(stopped, Stopped) and _is_left_running(step)
        if left:
            ends = "after ten idle minutes" if spec.cluster_stays else "with its step"
            show(f"cluster {step.cluster} goes on and ends {ends}; python -m launch emr-status shows it")
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
