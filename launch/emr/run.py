"""A run on EMR, from the package to the report; whatever goes wrong, what it started is ended."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from base import paths
from launch import transfer
from launch.emr import artifacts, aws, cost, follow, results, steps
from launch.emr.follow import Clients, Show, Step
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
    built = artifacts.build(spec)
    steps.check_packages(spec, built.wheelhouse.sha256)
    sent = artifacts.send(spec, built, access)

    clients = Clients(emr=aws.client("emr", region), s3=aws.client("s3", region))
    before = results.job_record(clients.s3, sent.job.output)
    step = steps.start(spec, sent, agreed, clients=clients, show=show)
    show(f"step {step.step} on cluster {step.cluster}; logs come to {spec.cluster.logs}{step.cluster}/")
    show(f"results come to {sent.job.output}")
    started = datetime.now(UTC)
    if not _follow(spec, step, deadline_s=cost.paid_s(agreed, max_usd=spec.max_usd), clients=clients, show=show):
        return 130

    report = transfer.bring_back(sent.job.output, spec.job.settings.output, default=paths.OUT, access=access)
    after = results.job_record(clients.s3, sent.job.output)
    if before.get("run") == after["run"]:
        after = summary.unchanged(after)
    actual = results.bill(spec, step, started=started, clients=clients, show=show)
    results.write_record(
        report.parent,
        spec,
        step,
        started=started,
        agreed=agreed,
        actual=actual,
        wheelhouse_sha256=built.wheelhouse.sha256,
    )
    came_to = cost.words_after(actual.usd, minutes=actual.minutes, in_emr_lab=spec.in_emr_lab)
    sys.stdout.write(f"{summary.format_summary(after)}{came_to}report      {os.path.relpath(report)}\n")
    return 0


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
