"""What `emr-run` would ask of Amazon, as text: the request and the rights. Nothing is called, fetched or built."""

from __future__ import annotations

import json
from dataclasses import replace

from launch import package, transfer
from launch.emr import cost, policies, request, run, wheelhouse
from launch.emr.order import CACHE, Order, owner
from launch.transfer import Shipment
from pipeline.redaction import redacted_argument


def text(order: Order, expected: cost.Estimate) -> str:
    """The request's JSON, without secrets, and every policy, each below a line that says what it is."""
    parts: dict[str, object] = {"RunJobFlow": _shown(document(order, expected))}
    parts |= {f"Rights of {who}": found for who, found in policies.all_of(order.cluster.bucket).items()}
    return "".join(f"# {title}\n{json.dumps(found, indent=2)}\n\n" for title, found in parts.items())


def document(order: Order, expected: cost.Estimate) -> dict[str, object]:
    """RunJobFlow's arguments; what is made or found only by a run stands as a word in capitals."""
    machine = wheelhouse.architecture(order.cluster.instance_type)
    wheels = wheelhouse.find(CACHE, machine=machine, python=order.release.python)
    artifacts = run.artifact_uris(order.cluster.bucket, wheels.sha256 if wheels else "SHA256")
    subnets = order.cluster.subnets or (() if order.in_lab else ("SUBNETS",))
    wanted = replace(order, cluster=replace(order.cluster, subnets=subnets))
    step = run.spark_step(wanted, _shipment(order), expected)
    return request.run_job_flow(wanted.cluster, artifacts, python=order.release.python, step=step)


def _shown(found: object) -> object:
    if isinstance(found, dict):
        return {name: _shown(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_shown(value) for value in found]
    return redacted_argument(found) if isinstance(found, str) else found


def _shipment(order: Order) -> Shipment:
    """Where transfer.send would bring everything."""
    bucket = f"s3://{order.cluster.bucket}"
    built = package.build(CACHE)
    place = f"{bucket}/artifacts/package/{built.sha256[:12]}"
    model = f"{bucket}/artifacts/models/SHA256/{order.model}-{order.image_size}.tflite"
    settings = replace(transfer.in_bucket(order.settings, bucket, owner=owner(order)), model=model)
    return Shipment(f"{place}/{built.archive.name}", f"{place}/{built.main.name}", settings)
