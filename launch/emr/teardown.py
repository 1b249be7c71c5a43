"""Back to nothing: ends the clusters that carry the tag, and removes what `account.py` made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from launch.emr import aws, bucket, key, network, record, roles
from launch.emr.account import BUDGETS_REGION, NO_CONFIGURATION
from launch.emr.aws import NAME, SECURITY_CONFIGURATION, TAG
from launch.emr.change import Change, or_none

# Clusters that TerminateJobFlows takes. https://docs.aws.amazon.com/emr/latest/APIReference/API_TerminateJobFlows.html
ENDED_AT_ONCE = 10
ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")


def clusters(emr: Any, *states: str) -> Iterator[dict[str, Any]]:
    """The clusters that carry the tag, newest first, as DescribeCluster gives them; in all states where none is given.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    by_state = {"ClusterStates": list(states)} if states else {}
    for listed in aws.pages(emr, "list_clusters", "Clusters", **by_state):
        if listed["Name"] == NAME:
            cluster = emr.describe_cluster(ClusterId=listed["Id"])["Cluster"]
            if TAG in cluster.get("Tags", ()):
                yield cluster


def end(emr: Any, cluster_ids: Sequence[str]) -> None:
    """Let all of these clusters end, however many they are.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    for start in range(0, len(cluster_ids), ENDED_AT_ONCE):
        emr.terminate_job_flows(JobFlowIds=list(cluster_ids[start : start + ENDED_AT_ONCE]))


def remove_account(name: str, region: str, change: Change) -> None:
    """Remove what `account.set_up` made, the bucket `name` too; the rest stays. Clusters must have ended.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    account = str(aws.client("sts", region).get_caller_identity()["Account"])
    bucket.remove(name, region, account, change)
    _remove_security_configuration(region, change)
    key.remove(region, change)
    network.release(region, change)
    iam = aws.client("iam", region)
    if regions := record.other_regions(record.made(iam), region):
        change.remark(
            f"left as they are: roles and budget, on which {', '.join(regions)} rests; there too: "
            f"emr-down --account --region {regions[0]} --bucket …"
        )
        return
    budgets = aws.client("budgets", BUDGETS_REGION)
    if or_none(lambda: budgets.describe_budget(AccountId=account, BudgetName=NAME), "NotFoundException"):
        if record.BUDGET in record.made(iam):
            change(f"gone: budget {NAME}", lambda: budgets.delete_budget(AccountId=account, BudgetName=NAME))
        else:
            change.remark(f"left as it is: budget {NAME}, which emr-setup did not make")
    roles.remove(region, account, change)


def _remove_security_configuration(region: str, change: Change) -> None:
    emr, iam, name = aws.client("emr", region), aws.client("iam", region), SECURITY_CONFIGURATION
    record_name = record.configuration(region)
    if or_none(lambda: emr.describe_security_configuration(Name=name), *NO_CONFIGURATION) is None:
        return
    if record_name not in record.made(iam):
        change.remark(f"left as it is: security configuration {name} in {region}, which emr-setup did not make")
        return

    def remove() -> None:
        emr.delete_security_configuration(Name=name)
        record.erase(iam, record_name)

    change(f"gone: security configuration {name} in {region}", remove)
