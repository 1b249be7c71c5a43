"""Managed scaling: which policies EMR takes, and when a cluster's groups or fleets get a machine more or less.

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-managed-scaling.html. Amazon keeps its rule to itself; the
lab's asks for a machine more where something has waited for room in YARN for ten seconds, and for one less where a node
has run nothing for a minute while nothing waited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moto.emr.exceptions import ValidationException

from base import sizing
from emr_lab.endpoint import instances
from emr_lab.endpoint.nodes import YarnLoad, YarnNode
from emr_lab.endpoint.records import Collection
from emr_lab.protocol.classifications import properties

GROW_AFTER_S = 10.0
SHRINK_AFTER_S = 60.0
# https://docs.aws.amazon.com/emr/latest/APIReference/API_ManagedScalingPolicy.html
PERFORMANCE_INDICES = (1, 25, 50, 75, 100)
GROUP_UNITS = ("Instances", "VCPU")
FLEET_UNITS = ("InstanceFleetUnits",)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A policy's limits on core and task nodes together, in units of `unit_type`."""

    unit_type: str
    minimum: int
    maximum: int
    on_demand: int
    core: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """The machines of a group or fleet on demand or on spot, and the limits' units of one."""

    collection: Collection
    spot: bool
    count: int
    units: int


def limits(policy: Mapping[str, Any]) -> Limits:
    """Return the limits of a ManagedScalingPolicy; what it leaves open is as large as its maximum."""
    given = policy["ComputeLimits"]
    maximum = int(given["MaximumCapacityUnits"])
    return Limits(
        unit_type=str(given["UnitType"]),
        minimum=int(given["MinimumCapacityUnits"]),
        maximum=maximum,
        on_demand=int(given.get("MaximumOnDemandCapacityUnits", maximum)),
        core=int(given.get("MaximumCoreCapacityUnits", maximum)),
    )


def check(policy: Mapping[str, Any], collections: Sequence[Collection], *, cores: int) -> dict[str, Any]:
    """Return the policy, where a cluster with these groups or fleets can have it.

    Args:
        policy: a ManagedScalingPolicy.
        collections: of the cluster.
        cores: nodes of the lab beside the primary.

    Raises:
        ValidationException: EMR would not take it, or its minimum is more than the lab's nodes.
    """
    if "ComputeLimits" not in policy:
        raise _invalid("ComputeLimits must be specified.")
    _check_strategy(policy)
    asked = limits(policy)
    core = next((each for each in collections if each.role == "CORE"), None)
    if core is None:
        raise _invalid("The cluster has no core nodes.")
    fleets = instances.is_fleet(core)
    offered = FLEET_UNITS if fleets else GROUP_UNITS
    if asked.unit_type not in offered:
        kind = "fleets" if fleets else "groups"
        raise _invalid(f"UnitType {asked.unit_type} is not for a cluster with instance {kind}: {', '.join(offered)}.")
    if asked.minimum < 1:
        raise _invalid(f"The min capacity must be at least 1, not {asked.minimum}.")
    if asked.minimum > asked.maximum:
        raise _invalid("The min capacity cannot be higher than max capacity")
    for name, value in (("Core", asked.core), ("On-Demand", asked.on_demand)):
        if value > asked.maximum:
            raise _invalid(f"The max {name} capacity cannot be higher than max capacity")
    if asked.core < 1 or asked.on_demand < 0:
        raise _invalid("The max Core capacity must be at least 1, the max On-Demand capacity at least 0.")
    if not fleets and not core.spot and asked.core > asked.on_demand:
        raise _invalid(
            "If you select On-Demand market type for core nodes in a cluster with instance groups, "
            "MaximumCoreCapacityUnits must be less than or equal to MaximumOnDemandCapacityUnits."
        )
    most = cores * _units(core, asked.unit_type)
    if asked.minimum > most:
        raise _invalid(f"The min capacity is {asked.minimum}; the lab has {cores} core and task nodes, {most} units.")
    return dict(policy)


def replication(configurations: Sequence[Mapping[str, Any]]) -> int:
    """Return on how many nodes HDFS keeps a block: fewer core nodes would lose data."""
    given = properties(configurations)["hdfs-site"].get("dfs.replication", "")
    return max(1, int(given)) if given.isdecimal() else 1


def grow(collections: Sequence[Collection], asked: Limits, *, cores: int) -> bool:
    """Let a group or fleet have one machine more: a core node as long as it may, on demand as long as it may.

    Returns:
        Whether one may; `cores` are the lab's nodes beside the primary.
    """
    shares = _shares(collections, asked.unit_type)
    if sum(each.count for each in shares) >= cores:
        return False
    for share in sorted(shares, key=lambda each: (each.collection.role != "CORE", each.spot)):
        is_core = share.collection.role == "CORE"
        if (
            _total(shares) + share.units <= asked.maximum
            and (not is_core or _total(shares, _is_core) + share.units <= asked.core)
            and (share.spot or _total(shares, _is_on_demand) + share.units <= asked.on_demand)
        ):
            resize(share.collection, spot=share.spot, count=share.count + 1)
            return True
    return False


def shrink(collections: Sequence[Collection], asked: Limits, *, core_minimum: int) -> bool:
    """Let a group or fleet have one machine less, a task node and one on spot first; return whether one may."""
    shares = _shares(collections, asked.unit_type)
    for share in sorted(shares, key=lambda each: (each.collection.role == "CORE", not each.spot)):
        cores = sum(each.count for each in shares if _is_core(each))
        if (
            share.count
            and _total(shares) - share.units >= asked.minimum
            and (share.collection.role != "CORE" or cores > core_minimum)
        ):
            resize(share.collection, spot=share.spot, count=share.count - 1)
            return True
    return False


def fit(collections: Sequence[Collection], asked: Limits, *, cores: int, core_minimum: int) -> bool:
    """Bring the groups or fleets one machine nearer to the limits; return whether they were outside of them."""
    shares = _shares(collections, asked.unit_type)
    if _total(shares) < asked.minimum:
        return grow(collections, asked, cores=cores)
    if _total(shares) > asked.maximum:
        return shrink(collections, asked, core_minimum=core_minimum)
    return False


def resize(collection: Collection, *, spot: bool, count: int) -> None:
    """Let a group or fleet have `count` machines on spot or on demand."""
    if instances.is_fleet(collection):
        name = "TargetSpotCapacity" if spot else "TargetOnDemandCapacity"
        units = instances.weight(collection.request, collection.instance_type)
        collection.request = {**collection.request, name: count * units}
        collection.count = sum(instances.wanted(collection).values())
    else:
        collection.count = count


class Damping:
    """Waits until a change has been wanted for long enough; to be used by a cluster's thread alone."""

    def __init__(self) -> None:
        self.waiting_since_s: float | None = None
        self.idle_since_s: float | None = None

    def calm(self) -> None:
        """Begin anew, as after a change."""
        self.waiting_since_s = self.idle_since_s = None

    def change(self, load: YarnLoad, nodes: Iterable[YarnNode], *, now_s: float) -> int:
        """Return 1 or -1 where a machine more or less has been wanted for long enough at `now_s`, else 0."""
        waits = bool(load.containers or load.applications)
        idle = not waits and any(each.state == "RUNNING" and not each.containers for each in nodes)
        self.waiting_since_s = _since(self.waiting_since_s, holds=waits, now_s=now_s)
        self.idle_since_s = _since(self.idle_since_s, holds=idle, now_s=now_s)
        if self.waiting_since_s is not None and now_s - self.waiting_since_s >= GROW_AFTER_S:
            return 1
        if self.idle_since_s is not None and now_s - self.idle_since_s >= SHRINK_AFTER_S:
            return -1
        return 0


def _since(since_s: float | None, *, holds: bool, now_s: float) -> float | None:
    return (now_s if since_s is None else since_s) if holds else None


def _check_strategy(policy: Mapping[str, Any]) -> None:
    index, advanced = policy.get("UtilizationPerformanceIndex"), policy.get("ScalingStrategy") == "ADVANCED"
    if advanced != (index is not None):
        raise _invalid("ScalingStrategy ADVANCED and UtilizationPerformanceIndex go together.")
    if advanced and index not in PERFORMANCE_INDICES:
        raise _invalid(f"UtilizationPerformanceIndex must be one of {PERFORMANCE_INDICES}, not {index}.")


def _invalid(message: str) -> ValidationException:
    return ValidationException(f"Invalid configuration for managed scaling. {message}")


def _shares(collections: Sequence[Collection], unit_type: str) -> list[Share]:
    return [
        Share(collection=each, spot=spot, count=count, units=_units(each, unit_type))
        for each in collections
        if each.role != "MASTER"
        for spot, count in instances.wanted(each).items()
    ]


def _units(collection: Collection, unit_type: str) -> int:
    if unit_type == "VCPU":
        return sizing.instance(collection.instance_type).vcpu
    return 1 if unit_type == "Instances" else instances.weight(collection.request, collection.instance_type)


def _total(shares: Iterable[Share], which: Callable[[Share], bool] = lambda _: True) -> int:
    return sum(each.count * each.units for each in shares if which(each))


def _is_core(share: Share) -> bool:
    return share.collection.role == "CORE"


def _is_on_demand(share: Share) -> bool:
    return not share.spot
