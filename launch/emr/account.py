"""The AWS account made ready for clusters: roles, key, bucket, encryption, subnet, budget; again, nothing changes.

Everything carries the tag `emrlab`, by which `removal.py` finds it again; what was there before gets none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import HTTPClientError

from launch.emr import aws, bucket, policies
from launch.emr.aws import EMR_TAG, NAME, NODE_ROLE, SECURITY_CONFIGURATION, SERVICE_ROLE, TAG, EmrError
from launch.emr.change import Change, Show, or_none
from launch.emr.request import security_configuration

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
KEY_ALIAS = f"alias/{NAME}"
# Whose own roles there must be: one ends what a cluster leaves behind, the other asks for spot machines.
SERVICE_LINKED = ("elasticmapreduce.amazonaws.com", "spot.amazonaws.com")
BUDGETS_REGION = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the account is to be ready for.

    Attributes:
        bucket, region: of photographs, packages, results and logs.
        subnet: of the clusters; None for one of the default network.
        budget_usd, email: a month's budget and whom to tell; None for none.
    """

    bucket: str
    region: str
    subnet: str | None = None
    budget_usd: float | None = None
    email: str | None = None


def setup(wanted: Wanted, *, dry_run: bool, show: Show) -> bool:
    """Create what is missing, mend what is otherwise than wanted; returns whether anything was.

    Args:
        wanted: what for.
        dry_run: change nothing, say what would be.
        show: takes a line for each change, and for what is left as it is though it should not be.

    Raises:
        EmrError: something of that name is not ours, or there is no subnet.
        ClientError, BotoCoreError: AWS refuses.
    """
    said = list[str]()

    def note(line: str) -> None:
        said.append(line)
        show(line)

    change = Change(dry_run=dry_run, show=note, remark=show)
    account = str(aws.client("sts", wanted.region).get_caller_identity()["Account"])
    bucket.ensure(wanted.bucket, wanted.region, account, change)
    key = ensure_key(wanted.region, account, change)
    values = {"account": account, "bucket": wanted.bucket, "key": key}
    ensure_roles(wanted.region, values, change)
    ensure_security_configuration(wanted.region, key, change)
    ensure_subnet(wanted, change)
    if wanted.budget_usd is not None and wanted.email:
        ensure_budget(account, wanted.budget_usd, wanted.email, change)
    return bool(said)


def ensure_key(region: str, account: str, change: Change) -> str:
    """A KMS key for the disks, which encrypt with no other kind; returns its ARN."""
    kms = aws.client("kms", region)
    found = or_none(lambda: kms.describe_key(KeyId=KEY_ALIAS), "NotFoundException")
    if found is not None:
        return str(found["KeyMetadata"]["Arn"])

    def create() -> str:
        try:
            made = aws.once("kms", region).create_key(
                Description="disks of EMR clusters that emrlab starts",
                Tags=[{"TagKey": TAG["Key"], "TagValue": TAG["Value"]}],
            )["KeyMetadata"]
        except HTTPClientError as error:
            raise EmrError(
                "the answer to CreateKey was lost; look in the KMS console for a new key with the tag emrlab and "
                "without an alias, delete it there, and run this again"
            ) from error
        kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=made["KeyId"])
        return str(made["Arn"])

    made = change(f"there: KMS key {KEY_ALIAS} for the disks ($1 a month)", create)
    return str(made or f"arn:aws:kms:{region}:{account}:key/NEW")


def ensure_roles(region: str, values: dict[str, str], change: Change) -> None:
    """The service's role, the nodes' role with its instance profile, and Amazon's own two."""
    iam = aws.client("iam", region)
    _ensure_role(iam, SERVICE_ROLE, trust="emr/service-trust", grants=["emr/service"], values=values, change=change)
    _ensure_role(iam, NODE_ROLE, trust="emr/node-trust", grants=["job", "emr/node"], values=values, change=change)
    attached = or_none(lambda: iam.list_attached_role_policies(RoleName=SERVICE_ROLE), "NoSuchEntity")
    if SERVICE_POLICY not in {each["PolicyArn"] for each in (attached or {}).get("AttachedPolicies", ())}:
        change(
            f"attached: AmazonEMRServicePolicy_v2 to {SERVICE_ROLE}",
            lambda: iam.attach_role_policy(RoleName=SERVICE_ROLE, PolicyArn=SERVICE_POLICY),
        )
    profile = or_none(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE), "NoSuchEntity")
    if profile is None:
        change(
            f"there: instance profile {NODE_ROLE}",
            lambda: iam.create_instance_profile(InstanceProfileName=NODE_ROLE, Tags=[TAG]),
        )
    if profile is None or not profile["InstanceProfile"]["Roles"]:
        change(
            f"in the instance profile: role {NODE_ROLE}",
            lambda: iam.add_role_to_instance_profile(InstanceProfileName=NODE_ROLE, RoleName=NODE_ROLE),
        )
    for service in SERVICE_LINKED:
        if not iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]:
            create = partial(iam.create_service_linked_role, AWSServiceName=service)
            change(f"there: the role of {service} itself", create)


def ensure_security_configuration(region: str, key: str, change: Change) -> None:
    """Encryption of S3 and disks, and IMDSv2 only, under the name that clusters ask for."""
    emr, name = aws.client("emr", region), SECURITY_CONFIGURATION
    wanted = security_configuration(key)
    found = or_none(
        lambda: emr.describe_security_configuration(Name=name), "InvalidRequestException", "ResourceNotFoundException"
    )
    if found is not None and json.loads(found["SecurityConfiguration"]) == wanted:
        return

    def create() -> None:
        if found is not None:  # it cannot be changed
            emr.delete_security_configuration(Name=name)
        emr.create_security_configuration(Name=name, SecurityConfiguration=json.dumps(wanted))

    change(f"as wanted: security configuration {name} in {region}", create)


def ensure_subnet(wanted: Wanted, change: Change) -> None:
    """A subnet and its network with the tag without which the service's role may not use them."""
    ec2 = aws.client("ec2", wanted.region)
    if wanted.subnet:
        subnets = ec2.describe_subnets(SubnetIds=[wanted.subnet])["Subnets"]
    else:
        subnets = (
            tagged_subnets(ec2)
            or ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        )
    if not subnets:
        raise EmrError(f"{wanted.region} has no default network; give a subnet that reaches S3: --subnet subnet-…")
    subnet = min(subnets, key=lambda each: str(each["AvailabilityZone"]))
    have = {tag["Key"] for tag in subnet.get("Tags", ())}
    if not {TAG["Key"], EMR_TAG["Key"]} <= have:
        resources = [subnet["SubnetId"], subnet["VpcId"]]
        change(
            f"tagged for EMR: {subnet['SubnetId']} in {subnet['AvailabilityZone']} and its {subnet['VpcId']}",
            lambda: ec2.create_tags(Resources=resources, Tags=[TAG, EMR_TAG]),
        )


def tagged_subnets(ec2: Any) -> list[dict[str, Any]]:
    """The subnets that were made ready for clusters."""
    found = ec2.describe_subnets(Filters=[{"Name": f"tag:{TAG['Key']}", "Values": [TAG["Value"]]}])["Subnets"]
    return list(found)


def ensure_budget(account: str, limit_usd: float, email: str, change: Change) -> None:
    """A budget of the whole account with mails at 80 % spent and 100 % foreseen. An alarm, hours late; no brake."""
    budgets = aws.client("budgets", BUDGETS_REGION)
    found = or_none(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME), "NotFoundException")
    if found is not None and float(found["Budget"]["BudgetLimit"]["Amount"]) == limit_usd:
        return
    to = [{"SubscriptionType": "EMAIL", "Address": email}]
    alarms = [
        {
            "Notification": {
                "NotificationType": kind,
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": percent,
                "ThresholdType": "PERCENTAGE",
            },
            "Subscribers": to,
        }
        for kind, percent in (("ACTUAL", 80.0), ("FORECASTED", 100.0))
    ]
    budget = {
        "BudgetName": NAME,
        "BudgetLimit": {"Amount": f"{limit_usd:g}", "Unit": "USD"},
        "TimeUnit": "MONTHLY",
        "BudgetType": "COST",
    }

    def create() -> None:
        if found is not None:
            budgets.delete_budget(AccountId=account, BudgetName=NAME)
        budgets.create_budget(AccountId=account, Budget=budget, NotificationsWithSubscribers=alarms)

    change(f"there: budget {NAME} of ${limit_usd:g} a month for the whole account, alarms to {email}", create)


def _ensure_role(iam: Any, name: str, *, trust: str, grants: list[str], values: dict[str, str], change: Change) -> None:
    trusted = policies.document(trust, **values)
    found = or_none(lambda: iam.get_role(RoleName=name), "NoSuchEntity")
    if found is None:
        change(
            f"there: role {name}",
            lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trusted), Tags=[TAG]),
        )
    elif TAG not in found["Role"].get("Tags", ()):
        raise EmrError(f"the account has a role {name} that is not emrlab's: it lacks the tag; rename or remove it")
    elif found["Role"]["AssumeRolePolicyDocument"] != trusted:
        change(
            f"as wanted: who may take on {name}",
            lambda: iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusted)),
        )
    for grant in grants:
        wanted, inline = policies.document(grant, **values), {"RoleName": name, "PolicyName": grant.replace("/", "-")}
        have = or_none(partial(iam.get_role_policy, **inline), "NoSuchEntity")
        if have is None or have["PolicyDocument"] != wanted:
            put = partial(iam.put_role_policy, **inline, PolicyDocument=json.dumps(wanted))
            change(f"as in policies/{grant}.json: rights of {name}", put)
