"""What a user asks of EMR: a cluster for so much money, and one job on it; checked by itself, without a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import UsageError
from base.paths import CACHE
from base.releases import Release
from launch import transfer
from launch.emr import request
from launch.emr.request import Cluster
from launch.job import Job

BUCKET_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """A cluster on EMR, as a run or a session asks for it.

    Attributes:
        cluster: that is to be started, or what is known of the one that runs already. Its bucket is the run's.
        release: of the cluster.
        cluster_id: of a cluster that runs already, or None.
        in_emr_lab: it is the EMR lab's: no account, no bill.
        conf_overrides: Spark settings in place of ours.
        max_usd: what all of it may cost.
    """

    cluster: Cluster
    release: Release
    cluster_id: str | None
    in_emr_lab: bool
    conf_overrides: Mapping[str, str]
    max_usd: float

    @property
    def cluster_stays(self) -> bool:
        """Whether the cluster is there for other steps, too, and ends when it is idle."""
        return self.cluster.keep or self.cluster_id is not None


@dataclass(frozen=True, kw_only=True)
class RunSpec(ClusterSpec):
    """One run on EMR.

    Attributes:
        job: what runs there; folders of this machine stand for places in the bucket.
        minutes: that the job is taken to need, where nothing else says so.
    """

    job: Job
    minutes: float = 10.0


@dataclass(frozen=True, kw_only=True)
class SessionSpec(ClusterSpec):
    """One session on EMR.

    Attributes:
        lifetime_s: for how long it may be there.
    """

    lifetime_s: int


def owner(spec: ClusterSpec) -> str:
    """Whose places in the bucket are meant: the lab's bucket is this machine's own, others may use AWS's too.

    Raises:
        OSError: the cache cannot be written.
    """
    return "" if spec.in_emr_lab else transfer.mark(CACHE)


def check(spec: RunSpec) -> None:
    """See that what is asked for can be, without a call to AWS.

    Raises:
        UsageError: a location lies where the nodes may not read or write, or the bucket's name cannot be.
        SizingError, LabError: the executors do not fit.
    """
    job, bucket = spec.job, spec.cluster.bucket
    check_bucket(bucket)
    if job.secrets:
        raise UsageError(
            f"{job.declared_in}: secrets {', '.join(job.secrets)}: a step's command line and environment are shown to "
            "all who may describe it; on EMR let the job read them from AWS Secrets Manager, and take them out"
        )
    transfer.check_places(job, bucket=bucket)
    transfer.check(job)
    request.executors(spec.cluster, asked(spec))


def asked(spec: RunSpec) -> dict[str, str]:
    """What the job and who runs it ask of Spark, for the size of the executors."""
    return spec.job.asked(spec.conf_overrides)


def check_bucket(name: str) -> None:
    """See that S3 would take the bucket's name.

    Raises:
        UsageError: it would not.
    """
    if not BUCKET_NAME.fullmatch(name):
        raise UsageError(f"BUCKET={name} is no valid name; 3 to 63 of a-z, 0-9, - and ., and no s3:// before it")
