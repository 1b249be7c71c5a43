"""The AWS account made ready for clusters: roles, key, bucket, encryption, subnet, budget; again, nothing changes.

Everything carries the tag `emrlab`, or is in `record.py`, and by that `teardown.py` finds it again; what was there
before gets neither, and is refused where it stands in the way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from launch.emr import aws, bucket, free_plan, key, network, record, roles
from launch.emr.aws import NAME, SECURITY_CONFIGURATION, EmrError
from launch.emr.change import Change, Show, or_none
from launch.emr.request import security_configuration

BUDGETS_REGION = "us-east-1"
# What EMR, or moto, answers where there is no security configuration of that name.
NO_CONFIGURATION = ("InvalidRequestException", "ResourceNotFoundException")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the account is to be ready for.

    Attributes:
        bucket, region: of photographs, packages, results and logs.
        subnet: of the clusters; None for all of the default network.
        own_key: encrypt the disks with a key of one's own, whatever the account's default is.
        budget_usd, email: a month's budget and whom to tell; None for none.
    """

    bucket: str
    region: str
    subnet: str | None = None
    own_key: bool = False
    budget_usd: float | None = None
    email: str | None = None


def set_up(setup: Setup, *, dry_run: bool, show: Show) -> bool:
    """Create what is missing, mend what is otherwise than wanted; returns whether anything was.

    Args:
        setup: what for.
        dry_run: change nothing, say what would be.
        show: takes a line for each change, and for what is left as it is though it should not be.

    Raises:
        EmrError: something of that name is not ours, or there is no subnet.
        ClientError, BotoCoreError: AWS refuses.
    """
    changes = list[str]()

    def note(line: str) -> None:
        changes.append(line)
        show(line)

    change = Change(dry_run=dry_run, show=note, remark=show)
    account = str(aws.client("sts", setup.region).get_caller_identity()["Account"])
    if free_plan.is_free():
        show(f"warning: {aws.FREE_PLAN}")
    bucket.ensure(setup.bucket, setup.region, account, change)
    values = {"account": account, "bucket": setup.bucket}
    # Who once asked for a key of one's own keeps it until emr-down.
    own = key.ensure(setup.region, account, change) if setup.own_key else key.find(setup.region)
    if own:
        values["key"] = own
    roles.ensure(setup.region, values, change)
    if own:
        key.let_spot_use(own, setup.region, account, change)
    ensure_security_configuration(setup.region, own, change)
    network.ensure(setup.region, setup.subnet, change)
    if setup.budget_usd is not None and setup.email:
        ensure_budget(account, setup.budget_usd, setup.email, change)
    return bool(changes)


def ensure_security_configuration(region: str, own_key: str | None, change: Change) -> None:
    """Encryption of S3, of disks with a key of one's own, and IMDSv2 only, under the name that clusters ask for."""
    emr, iam, name = aws.client("emr", region), aws.client("iam", region), SECURITY_CONFIGURATION
    content, record_name = security_configuration(own_key), record.configuration(region)
    existing = or_none(lambda: emr.describe_security_configuration(Name=name), *NO_CONFIGURATION)
    if existing is not None and json.loads(existing["SecurityConfiguration"]) == content:
        return
    if existing is not None and record_name not in record.made(iam):
        raise EmrError(
            f"{region} has a security configuration {name} that emr-setup did not make; if nobody needs it, remove it: "
            f"aws emr delete-security-configuration --region {region} --name {name}"
        )

    def create() -> None:
        if existing is not None:  # it cannot be changed
            emr.delete_security_configuration(Name=name)
        emr.create_security_configuration(Name=name, SecurityConfiguration=json.dumps(content))
        record.write(iam, record_name)

    change(f"as wanted: security configuration {name} in {region}", create)


def ensure_in_emr_lab(region: str) -> None:
    """The security configuration that clusters ask for: of what emr-setup makes, the EMR lab has this alone."""
    emr, name = aws.client("emr", region), SECURITY_CONFIGURATION
    if or_none(lambda: emr.describe_security_configuration(Name=name), *NO_CONFIGURATION) is None:
        emr.create_security_configuration(Name=name, SecurityConfiguration=json.dumps(security_configuration(None)))


def ensure_budget(account: str, limit_usd: float, email: str, change: Change) -> None:
    """A budget of the whole account with mails at 80 % spent and 100 % foreseen. An alarm, hours late; no brake."""
    budgets, iam = aws.client("budgets", BUDGETS_REGION), aws.client("iam", BUDGETS_REGION)
    existing = or_none(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME), "NotFoundException")
    if existing is not None and float(existing["Budget"]["BudgetLimit"]["Amount"]) == limit_usd:
        return
    if existing is not None and record.BUDGET not in record.made(iam):
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
        if existing is not None:
            budgets.delete_budget(AccountId=account, BudgetName=NAME)
        budgets.create_budget(AccountId=account, Budget=budget, NotificationsWithSubscribers=alarms)
        record.write(iam, record.BUDGET)

    change(f"there: budget {NAME} of ${limit_usd:g} a month for the whole account, alarms to {email}", create)
