"""The AWS account made ready for clusters: roles, key, bucket, encryption, subnet, budget; again, nothing changes.

Everything carries the tag `emrlab`, by which `removal.py` finds it again. A bucket that was there before gets none: it
is used, and never removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from launch.emr import aws, policies
from launch.emr.aws import EMR_TAG, NAME, NODE_ROLE, SECURITY_CONFIGURATION, SERVICE_ROLE, TAG, EmrError
from launch.emr.request import security_configuration

SERVICE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
KEY_ALIAS = f"alias/{NAME}"
# Whose own roles there must be: one ends what a cluster leaves behind, the other asks for spot machines.
SERVICE_LINKED = ("elasticmapreduce.amazonaws.com", "spot.amazonaws.com")
LOG_DAYS = 30
UPLOAD_DAYS = 2  # parts of an upload that nobody finished are billed and not listed
EVENT_LOGS = "spark-events/"  # Spark wants the folder of its event logs to be there
BUDGETS_REGION = "us-east-1"

Show = Callable[[str], None]


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


@dataclass(frozen=True, kw_only=True)
class Change:
    """Says each change and makes it, or says it only."""

    dry_run: bool
    show: Show

    def __call__(self, what: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` does, or None."""
        self.show(f"{'would be' if self.dry_run else 'now'} {what}")
        return None if self.dry_run else make()


def setup(wanted: Wanted, *, dry_run: bool, show: Show) -> bool:
    """Create what is missing, mend what is otherwise than wanted; returns whether anything was.

    Args:
        wanted: what for.
        dry_run: change nothing, say what would be.
        show: takes a line for each change.

    Raises:
        EmrError: something of that name is not ours, or there is no subnet.
        ClientError, BotoCoreError: AWS refuses.
    """
    said = list[str]()

    def note(line: str) -> None:
        said.append(line)
        show(line)

    change = Change(dry_run=dry_run, show=note)
    account = str(aws.client("sts", wanted.region).get_caller_identity()["Account"])
    ensure_bucket(wanted, account, change)
    key = ensure_key(wanted.region, account, change)
    values = {"account": account, "bucket": wanted.bucket, "key": key}
    ensure_roles(wanted.region, values, change)
    ensure_security_configuration(wanted.region, key, change)
    ensure_subnet(wanted, change)
    if wanted.budget_usd is not None and wanted.email:
        ensure_budget(account, wanted.budget_usd, wanted.email, change)
    return bool(said)


def ensure_bucket(wanted: Wanted, account: str, change: Change) -> None:
    """The bucket: encrypted, closed to the public, its logs and unfinished uploads removed in time."""
    s3, bucket = aws.client("s3", wanted.region), wanted.bucket
    owner = {"Bucket": bucket, "ExpectedBucketOwner": account}
    known = _or_none(lambda: s3.get_bucket_location(**owner), "NoSuchBucket")
    if known is None:
        place = {} if wanted.region == "us-east-1" else {"LocationConstraint": wanted.region}
        more = {"CreateBucketConfiguration": place} if place else {}
        change(f"there: bucket {bucket} in {wanted.region}", lambda: s3.create_bucket(Bucket=bucket, **more))
        change(f"tagged: bucket {bucket}", lambda: s3.put_bucket_tagging(**owner, Tagging={"TagSet": [TAG]}))
    exists = known is not None or not change.dry_run
    encrypted = exists and _or_none(
        lambda: s3.get_bucket_encryption(**owner), "ServerSideEncryptionConfigurationNotFoundError"
    )
    if not encrypted:
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        change(
            f"encrypted: bucket {bucket}",
            lambda: s3.put_bucket_encryption(**owner, ServerSideEncryptionConfiguration={"Rules": rules}),
        )
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    found = exists and _or_none(lambda: s3.get_public_access_block(**owner), "NoSuchPublicAccessBlockConfiguration")
    if not found or found["PublicAccessBlockConfiguration"] != closed:
        change(
            f"closed to the public: bucket {bucket}",
            lambda: s3.put_public_access_block(**owner, PublicAccessBlockConfiguration=closed),
        )
    _ensure_lifecycle(s3, owner, change, exists=exists)
    if not exists or _or_none(lambda: s3.head_object(Bucket=bucket, Key=EVENT_LOGS), "404") is None:
        change(f"there: s3://{bucket}/{EVENT_LOGS}", lambda: s3.put_object(Bucket=bucket, Key=EVENT_LOGS))


def ensure_key(region: str, account: str, change: Change) -> str:
    """A KMS key for the disks, which encrypt with no other kind; returns its ARN."""
    kms = aws.client("kms", region)
    found = _or_none(lambda: kms.describe_key(KeyId=KEY_ALIAS), "NotFoundException")
    if found is not None:
        return str(found["KeyMetadata"]["Arn"])

    def create() -> str:
        made = kms.create_key(
            Description="disks of EMR clusters that emrlab starts",
            Tags=[{"TagKey": TAG["Key"], "TagValue": TAG["Value"]}],
        )["KeyMetadata"]
        kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=made["KeyId"])
        return str(made["Arn"])

    made = change(f"there: KMS key {KEY_ALIAS} for the disks ($1 a month)", create)
    return str(made or f"arn:aws:kms:{region}:{account}:key/NEW")


def ensure_roles(region: str, values: dict[str, str], change: Change) -> None:
    """The service's role, the nodes' role with its instance profile, and Amazon's own two."""
    iam = aws.client("iam", region)
    _ensure_role(iam, SERVICE_ROLE, trust="emr/service-trust", grants=["emr/service"], values=values, change=change)
    _ensure_role(iam, NODE_ROLE, trust="emr/node-trust", grants=["job", "emr/node"], values=values, change=change)
    attached = _or_none(lambda: iam.list_attached_role_policies(RoleName=SERVICE_ROLE), "NoSuchEntity")
    if SERVICE_POLICY not in {each["PolicyArn"] for each in (attached or {}).get("AttachedPolicies", ())}:
        change(
            f"attached: AmazonEMRServicePolicy_v2 to {SERVICE_ROLE}",
            lambda: iam.attach_role_policy(RoleName=SERVICE_ROLE, PolicyArn=SERVICE_POLICY),
        )
    profile = _or_none(lambda: iam.get_instance_profile(InstanceProfileName=NODE_ROLE), "NoSuchEntity")
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
    found = _or_none(
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
    found = _or_none(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME), "NotFoundException")
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
    found = _or_none(lambda: iam.get_role(RoleName=name), "NoSuchEntity")
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
        have = _or_none(partial(iam.get_role_policy, **inline), "NoSuchEntity")
        if have is None or have["PolicyDocument"] != wanted:
            put = partial(iam.put_role_policy, **inline, PolicyDocument=json.dumps(wanted))
            change(f"as in policies/{grant}.json: rights of {name}", put)


def _ensure_lifecycle(s3: Any, owner: dict[str, str], change: Change, *, exists: bool) -> None:
    """Our rules beside those that a bucket has already."""
    ours = [
        {
            "ID": f"{NAME}-logs",
            "Status": "Enabled",
            "Filter": {"Prefix": "logs/"},
            "Expiration": {"Days": LOG_DAYS},
        },
        {
            "ID": f"{NAME}-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
        },
    ]
    found = exists and _or_none(lambda: s3.get_bucket_lifecycle_configuration(**owner), "NoSuchLifecycleConfiguration")
    rules = found["Rules"] if found else []
    theirs = [rule for rule in rules if rule.get("ID") not in {each["ID"] for each in ours}]
    if not all(rule in rules for rule in ours):
        change(
            f"removed in time: logs after {LOG_DAYS} days, unfinished uploads after {UPLOAD_DAYS}",
            lambda: s3.put_bucket_lifecycle_configuration(**owner, LifecycleConfiguration={"Rules": theirs + ours}),
        )


def _or_none(ask: Callable[[], Any], *codes: str) -> Any:
    """The answer, or None where AWS's code says that there is none."""
    try:
        return ask()
    except ClientError as error:
        if aws.code(error) in codes:
            return None
        raise
