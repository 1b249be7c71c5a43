"""A run on EMR, from the package to the report; whatever goes wrong, what it started is ended."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from launch import model, package, storage, submit, targets, transfer
from launch.emr import aws, cost, follow, logs, once, request, wheelhouse
from launch.emr.aws import AwsError, EmrError
from launch.emr.follow import Clients, Step
from launch.emr.order import CACHE, OUT, ROOT, Order, owner
from launch.emr.request import Artifacts
from launch.storage import Access
from launch.transfer import Shipment
from pipeline import summary
from pipeline.signals import Stopped

RECORD = "emr.json"
# A cluster's first step is listed a little after RunJobFlow's answer, at worst.
LISTED_S, LISTED_PAUSE_S = 30.0, 2.0

Show = Callable[[str], None]


def run(order: Order, agreed: cost.Estimate, *, show: Show) -> int:
    """Package, upload, start, follow, fetch the report; exit code 0, or 130 where the user left it running.

    Raises:
        EmrError, StorageError, WheelhouseError, ModelError: it went wrong; what was started has been ended.
        ClientError, BotoCoreError: AWS refuses.
    """
    access = Access(key=aws.key, region=order.cluster.region, address=aws.endpoint("s3"))
    access.key()  # for want of one, nothing is built
    bucket = f"s3://{order.cluster.bucket}"
    built = model.build(
        order.model,
        weights=order.weights,
        image_size=order.image_size,
        cache=CACHE / "models",
        images=sorted((ROOT / "data" / "sample").glob("*/0_[01].jpg")),
    )
    wheels = wheelhouse.build(CACHE, machine=_machine(order), python=order.release.python)
    _check_packages(order, wheels)
    shipment = transfer.send(
        order.settings,
        package.build(CACHE),
        built.path,
        bucket=bucket,
        access=access,
        owner=owner(order),
        prune=order.in_lab,
    )
    artifacts = artifact_uris(order.cluster.bucket, wheels.sha256)
    storage.put(wheels.path, artifacts.wheelhouse, access)
    storage.put(wheelhouse.BOOTSTRAP, artifacts.bootstrap, access)

    clients = Clients(emr=aws.client("emr", order.cluster.region), s3=aws.client("s3", order.cluster.region))
    last = _record(clients.s3, shipment.settings.output)
    wanted = spark_step(order, shipment, agreed)
    step = _start(order, artifacts, wanted, clients=clients, show=show)
    show(f"step {step.step} on cluster {step.cluster}; logs come to {order.cluster.logs}{step.cluster}/")
    show(f"results come to {shipment.settings.output}")
    started = datetime.now(UTC)
    deadline_s = cost.paid_s(agreed, max_usd=order.max_usd)
    if not _attend(order, clients, step, deadline_s=deadline_s, show=show):
        return 130
    report = transfer.bring_back(shipment, order.settings.output, default=OUT, access=access)
    done = _record(clients.s3, shipment.settings.output)
    if last.get("run") == done["run"]:
        done = summary.unchanged(done)
    actual = _settle(order, clients, step, started=started, show=show)
    record = {
        "cluster": step.cluster,
        "step": step.step,
        "started": started.isoformat(timespec="seconds"),
        "release": order.release.label,
        "nodes": agreed.nodes,
        "estimated": agreed.as_json(),
        "actual": actual,
        "billed": not order.in_lab,
        "wheelhouse": wheels.sha256,
    }
    (report.parent / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    came_to = cost.words_after(actual["usd"], minutes=actual["minutes"], in_lab=order.in_lab)
    sys.stdout.write(f"{summary.words(done)}{came_to}report      {os.path.relpath(report)}\n")
    return 0


def artifact_uris(bucket: str, sha256: str) -> Artifacts:
    """Where the nodes' packages and the bootstrap action lie: under names that stand for their content."""
    script = hashlib.sha256(wheelhouse.BOOTSTRAP.read_bytes()).hexdigest()
    return Artifacts(
        wheelhouse=f"s3://{bucket}/artifacts/wheelhouse/wheelhouse-{sha256[:12]}.tar",
        wheelhouse_sha256=sha256,
        bootstrap=f"s3://{bucket}/artifacts/bootstrap/bootstrap-{script[:12]}.sh",
    )


def spark_step(order: Order, shipment: Shipment, agreed: cost.Estimate) -> dict[str, Any]:
    """The step: the one argument list of spark-submit, and the seconds that `max_usd` pays for.

    Raises:
        SizingError, LabError: as `request.executors`.
    """
    wanted, given = order.cluster, order.given
    conf = targets.emr(request.executors(wanted, given), given, bucket=wanted.bucket, region=wanted.region)
    arguments = submit.arguments(shipment.archive, shipment.main, settings=shipment.settings, conf=conf)
    limit_s = cost.step_s(agreed, max_usd=order.max_usd, running=bool(order.existing))
    return request.spark_step(arguments, keep=order.cluster.keep or bool(order.existing), limit_s=limit_s)


def _start(order: Order, artifacts: Artifacts, wanted: dict[str, Any], *, clients: Clients, show: Show) -> Step:
    sender = aws.once("emr", order.cluster.region)
    if order.existing:
        added = once.add_step(clients, sender, order.existing, wanted, show=show)
        return Step(cluster=order.existing, step=added, logs=order.cluster.logs)
    asked = request.run_job_flow(order.cluster, artifacts, python=order.release.python, step=wanted)
    cluster = once.run_job_flow(clients, sender, asked, show=show)
    try:
        return Step(cluster=cluster, step=_first_step(clients, cluster), logs=order.cluster.logs)
    except BaseException:  # Ctrl-C too
        clients.emr.terminate_job_flows(JobFlowIds=[cluster])
        raise


def _first_step(clients: Clients, cluster: str) -> str:
    started = clients.clock()
    while True:
        if step := next(aws.pages(clients.emr, "list_steps", "Steps", ClusterId=cluster), None):
            return str(step["Id"])
        if clients.clock() - started >= LISTED_S:
            raise EmrError(f"EMR has started cluster {cluster} and lists no step of it; it is ended, run again")
        clients.sleep(LISTED_PAUSE_S)


def _attend(order: Order, clients: Clients, step: Step, *, deadline_s: float, show: Show) -> bool:
    """Follow the step to its end; False where the user would not wait for it.

    What this run started is ended when anything goes wrong, and when the user says so.
    """
    done = left = False
    try:
        follow.follow(clients, step, deadline_s=deadline_s, show=show)
        done = True
    except KeyboardInterrupt as stopped:
        left = not isinstance(stopped, Stopped) and _leaves(step)
        if left:
            ends = "after ten idle minutes" if order.cluster.keep or order.existing else "with its step"
            show(f"cluster {step.cluster} goes on and ends {ends}; python -m launch emr-status shows it")
            return False
        raise
    finally:
        if not done and not left:
            end(order, clients, step, show=show)
    return True


def end(order: Order, clients: Clients, step: Step, *, show: Show) -> None:
    """End what a run started: its cluster, or on a cluster that others use its step alone."""
    try:
        if (order.existing or order.cluster.keep) and follow.look(clients.emr, step).step in follow.DONE:
            return  # nothing runs; the cluster ends after ten idle minutes
        if order.existing:
            clients.emr.cancel_steps(
                ClusterId=step.cluster, StepIds=[step.step], StepCancellationOption="TERMINATE_PROCESS"
            )
            show(f"step {step.step} is cancelled; cluster {step.cluster} ends after ten idle minutes")
        else:
            clients.emr.terminate_job_flows(JobFlowIds=[step.cluster])
            show(f"cluster {step.cluster} is ended")
    except AwsError as error:
        show(
            f"cluster {step.cluster} cannot be ended from here: {aws.explain(error)}; it ends by itself with its step, "
            "or after ten idle minutes"
        )


def _leaves(step: Step) -> bool:
    """Ask at Ctrl-C; without a terminal, without an answer and at a second Ctrl-C the run is ended."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"\nleave {step.step} running, or end it? [leave/END] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in {"l", "leave"}
    except KeyboardInterrupt:
        return False


def _settle(order: Order, clients: Clients, step: Step, *, started: datetime, show: Show) -> dict[str, float]:
    """Wait until a one-shot cluster bills no more; what it came to, in minutes and dollars at list prices."""
    if order.existing or order.cluster.keep:
        minutes = (datetime.now(UTC) - started).total_seconds() / 60
        usd = minutes / 60 * cost.hour_usd(order.cluster)
        show(f"cluster {step.cluster} stays for ten idle minutes: CLUSTER={step.cluster}")
    else:
        state = follow.wait_ended(clients, step.cluster, show=show)
        instances = list(aws.pages(clients.emr, "list_instances", "Instances", ClusterId=step.cluster))
        now = datetime.now(UTC)
        usd = cost.actual_usd(order.cluster, instances, now=now)
        minutes = (now - started).total_seconds() / 60
        show(f"cluster {step.cluster} is {state.lower()}")
    return {"minutes": round(minutes, 2), "usd": round(usd, 4)}


def _record(s3: Any, output: str) -> dict[str, Any]:
    """The job's own record of the run whose results lie at `output`; empty where there is none."""
    found: dict[str, Any] = json.loads(logs.read(s3, f"{output}/{transfer.RUN}") or "{}")
    return found


def _check_packages(order: Order, wheels: wheelhouse.Wheelhouse) -> None:
    if not order.existing:
        return
    found = aws.client("emr", order.cluster.region).describe_cluster(ClusterId=order.existing)["Cluster"]
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
    if tags.get(request.WHEELHOUSE_TAG) != wheels.sha256:
        raise EmrError(
            f"CLUSTER={order.existing} has other Python packages than requirements.lock asks for; start another"
        )


def _machine(order: Order) -> str:
    return wheelhouse.architecture(order.cluster.instance_type)
