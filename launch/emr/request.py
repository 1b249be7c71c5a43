"""The cluster's request: a pure function from what is wanted to EMR's RunJobFlow.

One primary and a few core nodes. A one-shot cluster ends with its step, whatever the step's end; one that is kept ends
after ten idle minutes. Either way nobody needs to be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from base import sizing
from base.defaults import INSTANCE_TYPE
from base.sizing import architecture
from launch import docker_lab
from launch.emr.aws import EMR_TAG, NAME, NODE_ROLE, SECURITY_CONFIGURATION, SERVICE_ROLE, TAG

LOGS = f"{NAME}-logs/"  # in the bucket, which may have logs of others; policies/data.json and emr/node.json name it too
IDLE_S = 600
ROOT_GB = 20  # the system, EMR's applications and the job's 0.4 GB of packages
VOLUME_GB = 32  # HDFS and YARN's local folders: the job shuffles paths and small vectors only
SPOT_TIMEOUT_MIN = 10
KILL_S = 60  # that a step which has had its time gets to put its work away
# Seconds after which YARN ends an application of the queue, whoever looks on.
# https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-site/CapacityScheduler.html
LIFETIME = "yarn.scheduler.capacity.root.default.maximum-application-lifetime"
# What a later run must know of a cluster that was kept.
WHEELHOUSE_TAG, NODES_TAG = "emrlab-wheelhouse", "emrlab-nodes"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster as it is wanted.

    Attributes:
        bucket: where packages, logs and event logs lie.
        region: of the cluster, and of the bucket.
        release: label in releases.toml.
        instance_type: of every node.
        workers: core nodes; with `spot`, core and task nodes.
        subnets: of which EMR takes the one that has machines; none in the lab.
        spot: all workers but one on spot, on demand where there is none.
        keep: stay for further steps.
        node: what a node has, where that is less than its type has: in the lab.
    """

    bucket: str
    region: str
    release: str
    instance_type: str = INSTANCE_TYPE
    workers: int = sizing.WORKERS
    subnets: tuple[str, ...] = ()
    spot: bool = False
    keep: bool = False
    node: sizing.Node | None = None

    @property
    def logs(self) -> str:
        """Where EMR puts its logs."""
        return f"s3://{self.bucket}/{LOGS}"


@dataclass(frozen=True, kw_only=True)
class NodeArtifacts:
    """What the nodes need from the bucket: URIs, the digest that they check, and what they import at the end."""

    wheelhouse: str
    wheelhouse_sha256: str
    bootstrap: str
    imports: tuple[str, ...] = ()


def run_job_flow(cluster: Cluster, artifacts: NodeArtifacts, *, python: str, step: dict[str, Any]) -> dict[str, Any]:
    """The arguments of boto3's `run_job_flow`.

    Args:
        cluster: what is wanted.
        artifacts: what was uploaded.
        python: of the nodes, like 3.11.
        step: the first step, as `spark_step` makes it.
    """
    return {
        "Name": NAME,
        "ReleaseLabel": cluster.release,
        "Applications": [{"Name": name} for name in applications(cluster.release)],
        "LogUri": cluster.logs,
        "ServiceRole": SERVICE_ROLE,
        "JobFlowRole": NODE_ROLE,
        "SecurityConfiguration": SECURITY_CONFIGURATION,
        "EbsRootVolumeSize": ROOT_GB,
        "Instances": {
            **_nodes(cluster),
            "KeepJobFlowAliveWhenNoSteps": cluster.keep,
            "TerminationProtected": False,
        },
        "AutoTerminationPolicy": {"IdleTimeout": IDLE_S},
        "BootstrapActions": [
            {
                "Name": "install the job's packages",
                "ScriptBootstrapAction": {
                    "Path": artifacts.bootstrap,
                    "Args": [artifacts.wheelhouse, artifacts.wheelhouse_sha256, python, *artifacts.imports],
                },
            }
        ],
        # The driver's own client asks for no region of the metadata service, and reads no file of AWS's.
        "Configurations": [
            {
                "Classification": "spark-env",
                "Configurations": [{"Classification": "export", "Properties": {"AWS_REGION": cluster.region}}],
            }
        ],
        "Steps": [step],
        "Tags": [
            TAG,
            EMR_TAG,
            {"Key": WHEELHOUSE_TAG, "Value": artifacts.wheelhouse_sha256},
            {"Key": NODES_TAG, "Value": f"{cluster.workers} x {cluster.instance_type}"},
        ],
    }


def run_for_sessions(cluster: Cluster, artifacts: NodeArtifacts, *, python: str, lifetime_s: int) -> dict[str, Any]:
    """The arguments of boto3's `run_job_flow` for a cluster that serves sessions, until it is ended or idle.

    Each session ends after `lifetime_s` at the latest: its server is an application of YARN. The other arguments are as
    of `run_job_flow`.
    """
    asked = run_job_flow(replace(cluster, keep=True), artifacts, python=python, step={})
    limit = {"Classification": "capacity-scheduler", "Properties": {LIFETIME: str(lifetime_s)}}
    return {**asked, "Steps": [], "SessionEnabled": True, "Configurations": [*asked["Configurations"], limit]}


def spark_step(
    arguments: Sequence[str], *, keep: bool, limit_s: int, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The step that runs `spark-submit` with `arguments` for `limit_s` seconds at most, whoever looks on.

    Its driver has the variables `env`; who may describe the step sees them.

    Its failure ends a cluster that is not kept. EMR has no such limit; GNU timeout is on every Amazon Linux.
    """
    timeout = ["timeout", "--verbose", "--signal=TERM", f"--kill-after={KILL_S}s", f"{limit_s}s"]
    variables = ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
    return {
        "Name": NAME,
        "ActionOnFailure": "CONTINUE" if keep else "TERMINATE_CLUSTER",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*timeout, *variables, "spark-submit", *arguments]},
    }


def applications(release: str) -> tuple[str, ...]:
    """What EMR is to install: YARN and HDFS come with Spark on 8.x, whose releases no longer offer Hadoop by name."""
    return ("Spark",) if release.startswith("emr-spark-") else ("Hadoop", "Spark")


def executors(cluster: Cluster, conf_overrides: Mapping[str, str]) -> sizing.Executors:
    """The executors that fill the nodes, as YARN counts; `conf_overrides` come before ours.

    Raises:
        SizingError: the instance type is not known, or an override does not fit.
        LabError: an override's value is no number.
    """
    node = cluster.node or sizing.instance(cluster.instance_type)
    shape = docker_lab.executors(docker_lab.Nodes(cluster.workers, node), conf_overrides)
    sizing.check(shape, node, workers=cluster.workers)
    return shape


def security_configuration(own_key: str | None) -> dict[str, Any]:
    """Encryption of S3, and the metadata service in version 2 only.

    Args:
        own_key: ARN of the key that every disk is encrypted with; None where the account's default of EBS holds.
    """
    at_rest: dict[str, Any] = {"S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}}
    if own_key:
        at_rest["LocalDiskEncryptionConfiguration"] = {
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": own_key,
            "EnableEbsEncryption": True,
        }
    return {
        "EncryptionConfiguration": {
            "EnableInTransitEncryption": False,
            "EnableAtRestEncryption": True,
            "AtRestEncryptionConfiguration": at_rest,
        },
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        },
    }


def _nodes(cluster: Cluster) -> dict[str, Any]:
    """Fleets, which choose among several subnets; groups would have to be given one."""
    core = 1 if cluster.spot else cluster.workers
    fleets = [_fleet(cluster, "MASTER", on_demand=1), _fleet(cluster, "CORE", on_demand=core)]
    if cluster.workers > core:
        fleets.append(_fleet(cluster, "TASK", spot=cluster.workers - core))
    subnets = {"Ec2SubnetIds": list(cluster.subnets)} if cluster.subnets else {}
    return {**subnets, "InstanceFleets": fleets}


def _fleet(cluster: Cluster, role: str, *, on_demand: int = 0, spot: int = 0) -> dict[str, Any]:
    """HDFS and the driver are on demand; a task node on spot may be of any type that is alike."""
    types = alike(cluster.instance_type) if spot else [cluster.instance_type]
    fleet: dict[str, Any] = {
        "Name": role.lower(),
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": [
            {"InstanceType": name, "WeightedCapacity": 1, "EbsConfiguration": _volume()} for name in types
        ],
    }
    if spot:
        fleet["LaunchSpecifications"] = {
            "SpotSpecification": {
                "TimeoutDurationMinutes": SPOT_TIMEOUT_MIN,
                "TimeoutAction": "SWITCH_TO_ON_DEMAND",
                "AllocationStrategy": "price-capacity-optimized",
            }
        }
    return fleet


def alike(instance_type: str) -> list[str]:
    """This type first, then those with the same architecture, vCPUs, cores and memory: the same executors fit."""
    node, machine = sizing.instance(instance_type), architecture(instance_type)
    core = sizing.cores_a_vcpu(instance_type)
    others = (
        name
        for name, other in sizing.INSTANCE_TYPES.items()
        if (other.vcpu, other.memory_mb, architecture(name)) == (node.vcpu, node.memory_mb, machine)
        and sizing.cores_a_vcpu(name) == core
    )
    return [instance_type, *(name for name in others if name != instance_type)]


def _volume() -> dict[str, Any]:
    specification = {"VolumeType": "gp3", "SizeInGB": VOLUME_GB}
    return {"EbsBlockDeviceConfigs": [{"VolumeSpecification": specification, "VolumesPerInstance": 1}]}
