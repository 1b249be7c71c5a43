"""What a session on EMR costs: so much an hour, for as long as its cluster is there, and no more than MAX_USD."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from launch.emr import cost
from launch.emr.cost import END_S, START_S, CostError, Estimate
from launch.emr.request import IDLE_S
from launch.emr.run_spec import ClusterSpec
from launch.emr.s3_requests import Requests
from launch.emr.workload import Workload

# After which EMR ends a session that nobody asks anything; EMR's own default.
IDLE_MINUTES = 60
LEAST_MINUTES = 10  # what may be there for less is no session
NOTHING_TO_READ = Workload(images=0, size_bytes=0, requests=Requests(puts=0, gets=0))


@dataclass(frozen=True, kw_only=True)
class Price:
    """What is to be agreed to.

    Attributes:
        least: what a session of LEAST_MINUTES takes and costs.
        max_usd: what all of it may cost.
        lifetime_s: for how long the session may be there, so that it does not cost more.
        running: the cluster is there already.
    """

    least: Estimate
    max_usd: float
    lifetime_s: int
    running: bool


def find(spec: ClusterSpec, work: Workload = NOTHING_TO_READ) -> Price:
    """The price of a session, in which the photographs of `work` are sent and read once.

    Raises:
        CostError: the region or the instance type has no prices, or `max_usd` pays for no session.
    """
    running = spec.cluster_id is not None
    least = cost.estimate_minutes(
        spec.cluster,
        LEAST_MINUTES,
        size_bytes=work.size_bytes,
        requests=work.requests,
        upload_bytes=work.upload_bytes,
        running=running,
    )
    # When the session has ended and nobody is there to end the cluster, it ends after ten idle minutes.
    around_s = IDLE_S + (0 if running else START_S + END_S)
    lifetime_s = math.floor(cost.paid_s(least, max_usd=spec.max_usd) - around_s)
    if lifetime_s < LEAST_MINUTES * 60:
        usd = least.requests_usd + (around_s + LEAST_MINUTES * 60) / 3600 * least.hour_usd
        raise CostError(
            f"a session of {LEAST_MINUTES} minutes may cost ${usd:.2f}, with its cluster's start and ten idle minutes, "
            f"over MAX_USD={spec.max_usd:g}; raise it if that is meant"
        )
    return Price(least=least, max_usd=spec.max_usd, lifetime_s=lifetime_s, running=running)


def words(price: Price, *, in_emr_lab: bool) -> str:
    """The price as a user reads it before a session is opened."""
    least = price.least
    free = f"{cost.FREE}; on AWS " * in_emr_lab
    hours, minutes = divmod(price.lifetime_s // 60, 60)
    start = f"; of it {START_S // 60} minutes until the session is there, assumed"
    limit = f"${price.max_usd:.2f}, MAX_USD: after {hours} h {minutes:02} min YARN ends the session, whoever looks on"
    if price.running:
        start, limit = "; it runs already", "what the cluster was started with"
    lines = [
        f"price       {free}${least.hour_usd:.2f} an hour of {least.nodes}{start}",
        f"at most     {limit}",
        f"            EMR ends it after {IDLE_MINUTES} idle minutes, and its cluster after ten more",
    ]
    basis = least.basis[-1:]  # the prices: of work a session has as much as its user wants
    return "\n".join(lines) + "\n" + cost.details(replace(least, basis=basis), in_emr_lab=in_emr_lab)
