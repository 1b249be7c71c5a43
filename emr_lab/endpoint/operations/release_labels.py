"""Operations that ask for releases, and for the instance types that they run on."""

from __future__ import annotations

from typing import Any

from moto.emr.exceptions import InvalidRequestException

from base import releases, sizing
from emr_lab.endpoint import validation
from emr_lab.endpoint.operations.emr import Emr, Members


def list_release_labels(emr: Emr, request: Members) -> dict[str, Any]:
    """The one release that the nodes are, where the filters let it pass: a prefix, Spark or Hadoop, Spark@4.1.1."""
    release, filters = emr.state.capabilities.release, request.get("Filters", {})
    name, _, version = filters.get("Application", "").partition("@")
    versions = {"": "", "spark": release.spark, "hadoop": release.hadoop}
    passes = release.label.startswith(filters.get("Prefix", "")) and name.lower() in versions
    # Amazon's versions have its own number behind them.
    if not passes or version.partition("-amzn")[0] not in {"", versions[name.lower()]}:
        return {"ReleaseLabels": []}
    return {"ReleaseLabels": [release.label]}


def list_supported_instance_types(_: Emr, request: Members) -> dict[str, Any]:
    """The instance types that the lab knows."""
    label = request["ReleaseLabel"]
    try:
        validation.release(label)
    except releases.ReleaseError as error:
        raise InvalidRequestException(f"The supplied release label is invalid: {label}. {error}") from error
    types = [
        {"Type": each.name, "MemoryGB": each.memory_mb / 1024, "VCPU": each.vcpu}
        for each in sizing.INSTANCE_TYPES.values()
    ]
    return {"SupportedInstanceTypes": types}
