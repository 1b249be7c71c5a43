"""The AWS account made ready for clusters: roles, key, bucket, encryption, subnet, budget; again, nothing changes.

Everything carries the tag `emrlab`, or is in `record.py`, and by that `removal.py` finds it again; what was there
before gets neither, and is refused where it stands in the way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import HTTPClientError

from launch.emr import aws, bucket, network, record, roles
from launch.emr.aws import NAME, SECURITY_CONFIGURATION, TAG, EmrError
from launch.emr.change import Change, Show, or_none
from launch.emr.request import security_configuration

KEY_ALIAS = f"alias/{NAME}"
KEY_DAYS = 7  # the shortest that KMS allows; a key that waits for its end costs nothing
BUDGETS_REGION = "us-east-1"
# What EMR, or moto, answers where there is no security configuration of that name.
NO_CONFIGURATION = ("InvalidRequestException", "ResourceNotFoundException")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the account is to be ready for.

    Attributes:
        bucket, region: of photographs, packages, results and logs.
        subnet: of the clusters; None for all of the default network.
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
    roles.ensure(wanted.region, values, change)
    ensure_security_configuration(wanted.region, key, change)
    network.ensure(wanted.region, wanted.subnet, change)
    if wanted.budget_usd is not None and wanted.email:
        ensure_budget(account, wanted.budget_usd, wanted.email, change)
    return bool(said)


def ensure_key(region: str, account: str, change: Change) -> str:
    """A KMS key for the disks, which encrypt with no other kind; returns its ARN."""
    kms = aws.client("kms", region)
    found = or_none(lambda: kms.describe_key(KeyId=KEY_ALIAS), "NotFoundException")
    if found is not None:
        arn, state = str(found["KeyMetadata"]["Arn"]), found["KeyMetadata"]["KeyState"]
        if not is_ours(kms, arn):
            raise EmrError(f"{KEY_ALIAS} names a key that is not emrlab's: it lacks the tag; give it another alias")
        if state != "Enabled":
            raise EmrError(f"the key of {KEY_ALIAS} is {state}; enable it, or remove the alias for a new one")
        return arn

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
        try:
            kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=made["KeyId"])
        except BaseException:  # Ctrl-C too: nobody would find it again, and it would cost $1 a month
            kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=KEY_DAYS)
            raise
        return str(made["Arn"])

    made = change(f"there: KMS key {KEY_ALIAS} for the disks ($1 a month)", create)
    return str(made or f"arn:aws:kms:{region}:{account}:key/NEW")


def is_ours(kms: Any, key: str) -> bool:
    """Whether the key has our tag."""
    return {"TagKey": TAG["Key"], "TagValue": TAG["Value"]} in kms.list_resource_tags(KeyId=key)["Tags"]


def ensure_security_configuration(region: str, key: str, change: Change) -> None:
    """Encryption of S3 and disks, and IMDSv2 only, under the name that clusters ask for."""
    emr, iam, name = aws.client("emr", region), aws.client("iam", region), SECURITY_CONFIGURATION
    wanted, noted = security_configuration(key), record.configuration(region)
    found = or_none(lambda: emr.describe_security_configuration(Name=name), *NO_CONFIGURATION)
    if found is not None and json.loads(found["SecurityConfiguration"]) == wanted:
        return
    if found is not None and noted not in record.made(iam):
        raise EmrError(
            f"{region} has a security configuration {name} that emr-setup did not make; if nobody needs it, remove it: "
            f"aws emr delete-security-configuration --region {region} --name {name}"
        )

    def create() -> None:
        if found is not None:  # it cannot be changed
            emr.delete_security_configuration(Name=name)
        emr.create_security_configuration(Name=name, SecurityConfiguration=json.dumps(wanted))
        record.write(iam, noted)

    change(f"as wanted: security configuration {name} in {region}", create)


def ensure_budget(account: str, limit_usd: float, email: str, change: Change) -> None:
    """A budget of the whole account with mails at 80 % spent and 100 % foreseen. An alarm, hours late; no brake."""
    budgets, iam = aws.client("budgets", BUDGETS_REGION), aws.client("iam", BUDGETS_REGION)
    found = or_none(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME), "NotFoundException")
    if found is not None and float(found["Budget"]["BudgetLimit"]["Amount"]) == limit_usd:
        return
    if found is not None and record.BUDGET not in record.made(iam):
        raise EmrError(
            f"the account has a budget {NAME} that emr-setup did not make; rename it, or leave BUDGET_USD out"
        )
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
        record.write(iam, record.BUDGET)

    change(f"there: budget {NAME} of ${limit_usd:g} a month for the whole account, alarms to {email}", create)
