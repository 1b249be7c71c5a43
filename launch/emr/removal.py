"""Back to nothing: ends the clusters that carry the tag, and removes what `account.py` made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from launch.emr import aws, bucket
from launch.emr.account import BUDGETS_REGION, KEY_ALIAS, tagged_subnets
from launch.emr.aws import EMR_TAG, NAME, NODE_ROLE, SECURITY_CONFIGURATION, SERVICE_ROLE, TAG
from launch.emr.change import Change

ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")
KEY_DAYS = 7  # the shortest that KMS allows; a key that waits for its end costs nothing


def clusters(emr: Any, *states: str) -> Iterator[dict[str, Any]]:
    """The clusters that carry the tag, newest first, as DescribeCluster gives them; in all states where none is given.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    wanted = {"ClusterStates": list(states)} if states else {}
    for listed in aws.pages(emr, "list_clusters", "Clusters", **wanted):
        if listed["Name"] == NAME:
            found = emr.describe_cluster(ClusterId=listed["Id"])["Cluster"]
            if TAG in found.get("Tags", ()):
                yield found


def remove_account(name: str, region: str, change: Change) -> None:
    """Remove what `account.setup` made, the bucket `name` too; what has not our tag stays. Clusters must have ended.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    account = str(aws.client("sts", region).get_caller_identity()["Account"])
    bucket.remove(name, region, account, change)
    emr = aws.client("emr", region)
    if _there(lambda: emr.describe_security_configuration(Name=SECURITY_CONFIGURATION)):
        change(
            f"gone: security configuration {SECURITY_CONFIGURATION}",
            lambda: emr.delete_security_configuration(Name=SECURITY_CONFIGURATION),
        )
    iam = aws.client("iam", region)
    if _there(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE)):
        change(f"gone: instance profile {NODE_ROLE}", lambda: _remove_profile(iam))
    for role in (NODE_ROLE, SERVICE_ROLE):
        found = _there(partial(iam.get_role, RoleName=role))
        if found and TAG in found["Role"].get("Tags", ()):
            change(f"gone: role {role}", partial(_remove_role, iam, role))
    kms = aws.client("kms", region)
    if key := _there(lambda: kms.describe_key(KeyId=KEY_ALIAS)["KeyMetadata"]["KeyId"]):
        tags = kms.list_resource_tags(KeyId=key)["Tags"]
        if {"TagKey": TAG["Key"], "TagValue": TAG["Value"]} in tags:
            change(f"gone in {KEY_DAYS} days: KMS key {KEY_ALIAS}", lambda: _remove_key(kms, key))
    ec2 = aws.client("ec2", region)
    for subnet in tagged_subnets(ec2):
        resources = [subnet["SubnetId"], subnet["VpcId"]]
        untag = partial(ec2.delete_tags, Resources=resources, Tags=[TAG, EMR_TAG])
        change(f"without our tags: {resources[0]} and {resources[1]}", untag)
    budgets = aws.client("budgets", BUDGETS_REGION)
    if _there(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME)):
        change(f"gone: budget {NAME}", lambda: budgets.delete_budget(AccountId=account, BudgetName=NAME))


def _remove_profile(iam: Any) -> None:
    profile = iam.get_instance_profile(InstanceProfileName=NODE_ROLE)["InstanceProfile"]
    for role in profile["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=NODE_ROLE, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=NODE_ROLE)


def _remove_role(iam: Any, role: str) -> None:
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    iam.delete_role(RoleName=role)


def _remove_key(kms: Any, key: str) -> None:
    kms.delete_alias(AliasName=KEY_ALIAS)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=KEY_DAYS)


def _there(ask: Callable[[], Any]) -> Any:
    """The answer, or None where there is none."""
    try:
        return ask()
    except ClientError as error:
        if "NoSuch" in aws.code(error) or "NotFound" in aws.code(error) or "InvalidRequest" in aws.code(error):
            return None
        raise
