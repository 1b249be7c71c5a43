"""EMR in one region, as its operations see it: what they look up, and their answers' pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moto.emr.exceptions import InvalidCluster, InvalidRequestException, ValidationException

from emr_lab.endpoint.records import Cluster, SecurityConfiguration
from emr_lab.endpoint.state import EndpointState

ACCOUNT = "123456789012"  # the lab has one, whatever the key
PAGE = 50

Members = Mapping[str, Any]


@dataclass(frozen=True)
class Emr:
    """EMR in one region. All regions share the nodes; what is looked up is to be used under `state.lock`."""

    state: EndpointState
    region: str

    def cluster(self, cluster_id: str) -> Cluster:
        """Return the cluster of this id.

        Raises:
            InvalidCluster: the region has none.
        """
        cluster = self.state.store.clusters.get(cluster_id)
        if cluster is None or cluster.region != self.region:
            raise InvalidCluster(cluster_id)
        return cluster

    def job_flow(self, job_flow_id: str) -> Cluster:
        """As `cluster`, with the words of EMR's older operations.

        Raises:
            ValidationException: the region has none.
        """
        try:
            return self.cluster(job_flow_id)
        except InvalidCluster as error:
            raise ValidationException("Specified job flow ID does not exist.") from error

    def modifiable(self, job_flow_id: str) -> Cluster:
        """Return the cluster of this id, which is not at its end.

        Raises:
            ValidationException: the region has none, or it is ending or has ended.
        """
        cluster = self.job_flow(job_flow_id)
        if cluster.ended_s is not None or cluster.state == "TERMINATING":
            raise ValidationException("A job flow that is shutting down, terminated, or finished may not be modified.")
        return cluster

    def security_configurations(self) -> list[SecurityConfiguration]:
        """Return those of the region."""
        return [each for each in self.state.store.security_configurations if each.region == self.region]


def page(
    key: str,
    items: Sequence[dict[str, Any]],
    request: Members,
    *,
    is_wanted: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> dict[str, Any]:
    """Return fifty of the items that are wanted, from the Marker on, which is the id of the first of them.

    What is added between two pages moves none of the others, and neither does what is not wanted any more.

    Raises:
        InvalidRequestException: the Marker is none of the items'.
    """
    marker = request.get("Marker")
    ids = [str(each.get("Id") or each["Name"]) for each in items]
    if marker and marker not in ids:
        raise InvalidRequestException(f"The Marker {marker} is not valid.")
    rest = range(ids.index(marker) if marker else 0, len(items))
    found = [number for number in rest if is_wanted(items[number])]
    answer: dict[str, Any] = {key: [items[number] for number in found[:PAGE]]}
    return {**answer, "Marker": ids[found[PAGE]]} if len(found) > PAGE else answer


def is_in_state(states: Collection[str] | None) -> Callable[[dict[str, Any]], bool]:
    """Return what tells whether a description has one of the states; any will do where none is named."""
    return lambda each: not states or each["Status"]["State"] in states
