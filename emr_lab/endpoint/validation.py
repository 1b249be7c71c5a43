"""Turns a request into a cluster or steps, or refuses it with EMR's code.

The lab's own limits are refused as NotImplemented, or where EMR has limits of that kind, as EMR refuses them. What
would have no effect here (roles, subnets, disks, spot, encryption) is recorded and shown again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from moto.emr.exceptions import ValidationException
from moto.utilities.utils import load_resource

from base import releases
from emr_lab.endpoint import instances, scaling, security
from emr_lab.endpoint.errors import NotOfferedError
from emr_lab.endpoint.records import Cluster, SecurityConfiguration, Step, new_id
from emr_lab.protocol.classifications import ConfigurationError, properties

# fmt: off
# RunJobFlow's members: those that the lab acts on, those that it records; it refuses the others.
ACTED_ON = frozenset({
    "Name", "LogUri", "ReleaseLabel", "Instances", "Steps", "BootstrapActions", "Applications", "Configurations",
    "Tags", "StepConcurrencyLevel", "AutoTerminationPolicy", "ManagedScalingPolicy", "JobFlowRole", "ServiceRole",
    "SecurityConfiguration", "SessionEnabled",
})
RECORDED = frozenset({
    "LogEncryptionKmsKeyId", "VisibleToAllUsers", "AutoScalingRole", "ScaleDownBehavior",
    "EbsRootVolumeSize", "EbsRootVolumeIops", "EbsRootVolumeThroughput", "RepoUpgradeOnBoot", "OSReleaseLabel",
    "ExtendedSupport",
})

# What can be installed, by line of releases; the lab has Hadoop and Spark.
# https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark810-release.html, emr-7140-release.html
OFFERED = {
    "emr-spark-8": frozenset({
        "AmazonCloudWatchAgent", "Delta", "Hudi", "Iceberg", "JupyterEnterpriseGateway", "Livy", "Spark",
    }),
    "emr-7": frozenset({
        "AmazonCloudWatchAgent", "Delta", "Flink", "HBase", "HCatalog", "Hadoop", "Hive", "Hudi", "Hue", "Iceberg",
        "JupyterEnterpriseGateway", "JupyterHub", "Livy", "Oozie", "Phoenix", "Pig", "Presto", "Spark", "Tez", "Trino",
        "Zeppelin", "ZooKeeper",
    }),
}
INSTALLED = frozenset({"Hadoop", "Spark"})
# The line of releases that has sessions.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-spark-connect-sessions.html
SESSIONS = "emr-spark-"

# Programs that EMR's command-runner starts and the lab's nodes do not have.
# https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-commandrunner.html
MISSING_PROGRAMS = frozenset({
    "hadoop-streaming", "hive-script", "pig-script", "hive", "beeline", "pig", "mapred", "flink",
    "flink-yarn-session", "hbase", "sqoop", "presto-cli", "trino-cli", "oozie",
})
# fmt: on
COMMAND_RUNNER = "command-runner.jar"
SCRIPT_RUNNER = re.compile(r"s3://[a-z0-9.-]*elasticmapreduce/libs/script-runner/script-runner\.jar|script-runner\.jar")

MOST_STEPS = 256  # pending or running on a cluster, and in one request
MOST_BOOTSTRAP_ACTIONS = 16
# Of all of a step's HadoopJarStep. https://docs.aws.amazon.com/emr/latest/APIReference/API_AddJobFlowSteps.html
MOST_STEP_CHARACTERS = 10_240
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-plan-tags-restrictions.html
MOST_TAGS, LONGEST_TAG_KEY, LONGEST_TAG_VALUE = 50, 128, 256
IDLE_TIMEOUT_S = (60, 604_800)
DEFAULT_IDLE_TIMEOUT_S = 3600
# Of a release; which of them Amazon has is not known here.
_PATCH = re.compile(r"(emr-(?:spark-)?[0-9]+\.[0-9]+)\.[1-9][0-9]?", re.ASCII)
LOG_URI = re.compile(r"s3[an]?://[^/]+(/.*)?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the lab is: the release on its nodes, the instance type that they are sized as, the core nodes' names.

    With `any_release` clusters of all of Amazon's releases are taken, and run on that one.
    """

    release: releases.Release
    instance_type: str
    cores: tuple[str, ...]
    any_release: bool = False


def cluster(
    request: Mapping[str, Any],
    capabilities: Capabilities,
    *,
    security_configurations: Sequence[SecurityConfiguration],
    region: str,
    account: str,
    now_s: float,
) -> Cluster:
    """Return the cluster that RunJobFlow's members ask for, with its steps; `security_configurations` are the region's.

    Raises:
        ValidationException: EMR would not take it, or it is more than the lab's nodes.
        NotOfferedError: the lab has not got it.
    """
    for name in sorted(request.keys() - ACTED_ON - RECORDED):
        if request[name]:
            raise NotOfferedError(f"{name} is not in the lab; leave it out of RunJobFlow")
    _check_release(request, capabilities, region=region)
    for name, word in (("JobFlowRole", "InstanceProfile"), ("ServiceRole", "ServiceRole")):
        if not request.get(name):
            raise ValidationException(f"{word} is required for creating cluster.")
    configuration = _security_configuration(request.get("SecurityConfiguration"), security_configurations)
    _check_applications(request.get("Applications", []), request["ReleaseLabel"])
    if request.get("SessionEnabled"):
        _check_sessions(request, capabilities.release.label)
    _check_configurations(request.get("Configurations", []))
    _check_bootstrap_actions(request.get("BootstrapActions", []))
    if (uri := request.get("LogUri")) and not LOG_URI.fullmatch(uri):
        raise ValidationException(f"The LogUri {uri} is not valid; it must be s3://BUCKET/….")
    collections = instances.parse(request["Instances"], capabilities.instance_type)
    policy, limits = request.get("AutoTerminationPolicy"), request.get("ManagedScalingPolicy")
    new_cluster = Cluster(
        id=new_id("j"),
        region=region,
        account=account,
        request={name: value for name, value in request.items() if name not in {"Steps", "Tags"}},
        created_s=now_s,
        uniform=not request["Instances"].get("InstanceFleets"),
        collections=collections,
        instances=instances.allocate(collections, capabilities.cores),
        tags=tags(request.get("Tags", [])),
        keep_alive=bool(request["Instances"].get("KeepJobFlowAliveWhenNoSteps", False)),
        protected=bool(request["Instances"].get("TerminationProtected", False)),
        concurrency=concurrency(request.get("StepConcurrencyLevel", 1)),
        idle_timeout_s=None if policy is None else idle_timeout_s(policy),
        scaling=None if limits is None else scaling.check(limits, collections, cores=len(capabilities.cores)),
        runtime_roles=configuration is not None and security.has_runtime_roles(configuration.content),
    )
    new_cluster.steps = steps(request.get("Steps", []), new_cluster, now_s=now_s)
    return new_cluster


def release(label: str) -> releases.Release:
    """Return the release of this label; a patch release is its minor release here.

    Raises:
        ReleaseError: releases.toml has neither.
    """
    patch = _PATCH.fullmatch(label)
    if patch is None or label in releases.labels():
        return releases.find(label)
    try:
        return releases.find(f"{patch[1]}.0")
    except releases.ReleaseError:
        return releases.find(label)  # the error names what was asked for


def execution_role(arn: str | None, cluster: Cluster) -> str | None:
    """Return the runtime role of AddJobFlowSteps, where its cluster has those.

    Raises:
        ValidationException: the cluster has none, or asks for one, or it is no role.
    """
    if cluster.runtime_roles and not arn:
        raise ValidationException(
            "Runtime roles are required for this cluster. Please specify the role using the ExecutionRoleArn parameter."
        )
    if arn and not cluster.runtime_roles:
        raise ValidationException(
            "Runtime roles are not supported on this cluster. Leave the ExecutionRoleArn out, or give the cluster a "
            "security configuration with EnableApplicationScopedIAMRole."
        )
    if arn and not _ROLE.fullmatch(arn):
        raise ValidationException(f"The ExecutionRoleArn {arn[:100]} is not valid: arn:aws:iam::ACCOUNT:role/NAME.")
    return arn


def steps(
    requests: Sequence[Mapping[str, Any]], cluster: Cluster, *, role: str | None = None, now_s: float
) -> list[Step]:
    """Return the steps that a request asks for, to be added to `cluster`; `role` is their runtime role.

    Raises:
        ValidationException: EMR would not take them.
        NotOfferedError: one is of a kind that the lab does not run.
    """
    if len(requests) + len(cluster.active()) > MOST_STEPS:
        raise ValidationException(
            "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') for cluster exceeded."
        )
    for request in requests:
        _check_step(request, cluster)
    return [Step(id=new_id("s"), request=dict(request), execution_role=role, created_s=now_s) for request in requests]


def concurrency(level: int) -> int:
    """Return a StepConcurrencyLevel that EMR takes.

    Raises:
        ValidationException: it is not 1 to 256.
    """
    if not 1 <= level <= MOST_STEPS:
        raise ValidationException(f"Step concurrency level must be between 1 and {MOST_STEPS}, not {level}.")
    return level


def idle_timeout_s(policy: Mapping[str, Any]) -> int:
    """Return the idle time of an AutoTerminationPolicy.

    Raises:
        ValidationException: it is too short or too long.
    """
    timeout_s = int(policy.get("IdleTimeout", DEFAULT_IDLE_TIMEOUT_S))
    if not IDLE_TIMEOUT_S[0] <= timeout_s <= IDLE_TIMEOUT_S[1]:
        raise ValidationException(f"IdleTimeout must be {IDLE_TIMEOUT_S[0]} to {IDLE_TIMEOUT_S[1]}, not {timeout_s}.")
    return timeout_s


def tags(requests: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags by their keys.

    Raises:
        ValidationException: more than EMR takes; a key that is empty, too long or Amazon's; a value that is too long.
    """
    tags_by_key = {tag.get("Key", ""): tag.get("Value", "") for tag in requests}
    if len(tags_by_key) > MOST_TAGS:
        raise ValidationException(f"A cluster has at most {MOST_TAGS} tags, not {len(tags_by_key)}.")
    for key, value in tags_by_key.items():
        if not 1 <= len(key) <= LONGEST_TAG_KEY or len(value) > LONGEST_TAG_VALUE:
            raise ValidationException(
                f"The tag '{key[:LONGEST_TAG_KEY]}' is not valid: a key has 1 to {LONGEST_TAG_KEY} characters, "
                f"a value {LONGEST_TAG_VALUE} at most."
            )
        if key.lower().startswith("aws:") or value.lower().startswith("aws:"):
            raise ValidationException(f"The tag '{key}' is not valid: aws: is reserved for Amazon.")
    return tags_by_key


def _check_release(request: Mapping[str, Any], capabilities: Capabilities, *, region: str) -> None:
    label, ours = str(request.get("ReleaseLabel", "")), capabilities.release
    if not label:
        raise ValidationException("Must specify a release label: ReleaseLabel is missing.")
    is_amazons = label in _amazons_releases(region)
    if is_amazons and capabilities.any_release:
        return
    taken = " Started with EMR_ANY_RELEASE=1 the lab runs it on its own." if is_amazons else ""
    try:
        requested_release = release(label)
    except releases.ReleaseError as error:
        raise ValidationException(f"The supplied release label is invalid: {label}. {error}.{taken}") from error
    if requested_release != ours:
        raise ValidationException(
            f"The supplied release label is not that of the lab's nodes: {label}. They are {ours.label}; "
            f"start them as RELEASE={requested_release.label}, or ask for {ours.label}.{taken}"
        )


@cache
def _amazons_releases(region: str) -> frozenset[str]:
    """Return the labels that Amazon has in a region, as moto knows them; none for a region that it does not know."""
    try:
        return frozenset(load_resource(f"emr/resources/release-labels-{region}.json"))
    except FileNotFoundError:
        return frozenset()


def _security_configuration(
    name: str | None, configurations: Sequence[SecurityConfiguration]
) -> SecurityConfiguration | None:
    if not name:
        return None
    configuration = next((each for each in configurations if each.name == name), None)
    if configuration is None:
        raise ValidationException(f"Security configuration with name '{name[:100]}' does not exist.")
    if security.has_kerberos(configuration.content):
        raise NotOfferedError(f"the security configuration '{name[:100]}' asks for Kerberos, which is not in the lab")
    return configuration


def _check_applications(applications: Sequence[Mapping[str, Any]], label: str) -> None:
    offered = next((names for line, names in OFFERED.items() if label.startswith(f"{line}.")), OFFERED["emr-7"])
    by_name = {name.lower(): name for name in offered}
    for application in applications:
        requested = str(application.get("Name", ""))
        name = by_name.get(requested.lower())
        if name is None:
            raise ValidationException(
                f"The supplied application is not valid for release label {label}: {requested}. "
                f"It offers {', '.join(sorted(offered))}."
            )
        if name not in INSTALLED:
            raise NotOfferedError(f"the application {name} is not in the lab, which has Spark on YARN and HDFS")


def _check_sessions(request: Mapping[str, Any], label: str) -> None:
    if not label.startswith(SESSIONS):
        raise ValidationException(
            f"SessionEnabled is not supported for release label {label}: sessions are there since emr-spark-8.0.0."
        )
    if not any(str(each.get("Name", "")).lower() == "spark" for each in request.get("Applications", [])):
        raise ValidationException("SessionEnabled needs the application Spark: name it in Applications.")


def _check_configurations(configurations: Sequence[Mapping[str, Any]]) -> None:
    try:
        properties(configurations)
    except ConfigurationError as error:
        raise ValidationException(str(error)) from error


def _check_bootstrap_actions(actions: Sequence[Mapping[str, Any]]) -> None:
    if len(actions) > MOST_BOOTSTRAP_ACTIONS:
        raise ValidationException(f"At most {MOST_BOOTSTRAP_ACTIONS} bootstrap actions, not {len(actions)}.")
    for action in actions:
        path = action["ScriptBootstrapAction"]["Path"]
        if not path.startswith("s3://"):
            raise NotOfferedError(f"the bootstrap action {path} is not in S3; give s3://BUCKET/…")


def _check_step(request: Mapping[str, Any], cluster: Cluster) -> None:
    run, name = request["HadoopJarStep"], request["Name"]
    jar, args = run["Jar"], run.get("Args", [])
    settings = [text for each in run.get("Properties", []) for text in each.values()]
    characters = sum(map(len, (jar, run.get("MainClass", ""), *args, *settings)))
    if characters > MOST_STEP_CHARACTERS:
        raise ValidationException(
            f"The HadoopJarStep of the step '{name[:100]}' has {characters} characters; {MOST_STEP_CHARACTERS} at most."
        )
    if request.get("StepMonitoringConfiguration"):
        raise NotOfferedError("StepMonitoringConfiguration is not in the lab; a step's logs come below LogUri")
    action = request.get("ActionOnFailure")
    if cluster.concurrency > 1 and action not in {None, "CONTINUE"}:
        raise ValidationException(
            f"ActionOnFailure {action} is not valid for a cluster whose StepConcurrencyLevel is greater than 1; "
            "use CONTINUE."
        )
    if jar != COMMAND_RUNNER and not SCRIPT_RUNNER.fullmatch(jar):
        raise NotOfferedError(f"the lab runs {COMMAND_RUNNER} and script-runner.jar, not {jar}")
    if not args:
        raise ValidationException(f"The step '{name}' has no Args: nothing to run.")
    if jar == COMMAND_RUNNER and args[0] in MISSING_PROGRAMS:
        raise NotOfferedError(f"{args[0]} is not on the lab's nodes; they have spark-submit, and what Spark brings")
    if jar != COMMAND_RUNNER and not args[0].startswith("s3://"):
        raise NotOfferedError(f"script-runner.jar takes scripts in S3 here, not {args[0]}")
