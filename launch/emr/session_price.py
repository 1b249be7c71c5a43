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
        most_usd: what all of it costs at most.
        lifetime_s: for how long the session may be there, so that it does not cost more.
        running: the cluster is there already.
    """

    least: Estimate
    most_usd: float
    lifetime_s: int
    running: bool


def find(spec: ClusterSpec, work: Workload = NOTHING_TO_READ, *, limit_s: int | None = None) -> Price:
    """The price of a session, in which the photographs of `work` are sent and read once.

    Args:
        spec: what is wanted.
        work: of the photographs.
        limit_s: for how long the cluster lets it be there, where it runs already.

    Raises:
        CostError: the region or the instance type has no prices, `max_usd` pays for no session, or for less than one
            that lasts for `limit_s`.
    """
    running = limit_s is not None
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

    def usd(lifetime_s: float) -> float:
        return least.requests_usd + (around_s + lifetime_s) / 3600 * least.hour_usd

    paid_s = math.floor(cost.paid_s(least, max_usd=spec.max_usd) - around_s)
    if limit_s is not None and paid_s < limit_s:
        raise CostError(
            f"a session on CLUSTER={spec.cluster_id} may last {_hours(limit_s)}, as its cluster was started, and cost "
            f"${usd(limit_s):.2f}, over MAX_USD={spec.max_usd:g}; raise it if that is meant, or leave CLUSTER out"
        )
    if limit_s is None and paid_s < LEAST_MINUTES * 60:
        raise CostError(
            f"a session of {LEAST_MINUTES} minutes may cost ${usd(LEAST_MINUTES * 60):.2f}, with its cluster's start "
            f"and ten idle minutes, over MAX_USD={spec.max_usd:g}; raise it if that is meant"
        )
    if limit_s is None:
        return Price(least=least, most_usd=spec.max_usd, lifetime_s=paid_s, running=False)
    return Price(least=least, most_usd=usd(limit_s), lifetime_s=limit_s, running=True)


def words(price: Price, *, in_emr_lab: bool) -> str:
    """The price as a user reads it before a session is opened."""
    least = price.least
    free = f"{cost.FREE}; on AWS " * in_emr_lab
    start = f"; of it {START_S // 60} minutes until the session is there, assumed"
    most = f"${price.most_usd:.2f}, MAX_USD"
    if price.running:
        start, most = "; it runs already", f"${price.most_usd:.2f}, as the cluster was started"
    lines = [
        f"price       {free}${least.hour_usd:.2f} an hour of {least.nodes}{start}",
        f"at most     {most}: after {_hours(price.lifetime_s)} YARN ends the session, whoever looks on",
        f"            EMR ends it after {IDLE_MINUTES} idle minutes, and its cluster after ten more",
    ]
    basis = least.basis[-1:]  # the prices: of work a session has as much as its user wants
    return "\n".join(lines) + "\n" + cost.details(replace(least, basis=basis), in_emr_lab=in_emr_lab)


def _hours(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes:02} min"
