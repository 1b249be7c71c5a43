"""Whether the account is on AWS's Free plan, on which EC2 starts small machines only, none of a cluster's size."""

from __future__ import annotations

from launch.emr import aws
from launch.emr.aws import AWS_ERRORS

ASKED_IN = "us-east-1"
ANSWER_S = 5


def is_free() -> bool:
    """Whether AWS says so. Who may not ask, and an account that has no plan, is not held up: EMR would say it too."""
    try:
        client = aws.client("freetier", ASKED_IN, attempts=1, read_s=ANSWER_S)
        return bool(client.get_account_plan_state().get("accountPlanType") == "FREE")
    except AWS_ERRORS:
        return False
