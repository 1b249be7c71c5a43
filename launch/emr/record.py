"""What emr-setup made and AWS puts no tag on: written down as tags of EMR's role, in the account itself.

A security configuration takes no tag, and a budget is found by its name alone. Without a record, one of our name would
be taken for ours, replaced and removed, whoever made it.
"""

from __future__ import annotations

from typing import Any

from launch.emr.aws import NAME, SERVICE_ROLE
from launch.emr.change import or_none

PREFIX = f"{NAME}-made-"
BUDGET = f"{PREFIX}budget"
_CONFIGURATION = f"{PREFIX}security-configuration-"


def configuration(region: str) -> str:
    """The record's name for the security configuration of a region."""
    return f"{_CONFIGURATION}{region}"


def made(iam: Any) -> frozenset[str]:
    """The names of all that is written down; none where there is no role yet.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    role = or_none(lambda: iam.get_role(RoleName=SERVICE_ROLE), "NoSuchEntity")
    tags = role["Role"].get("Tags", ()) if role else ()
    return frozenset(tag["Key"] for tag in tags if tag["Key"].startswith(PREFIX))


def other_regions(records: frozenset[str], region: str) -> list[str]:
    """The regions besides this one that were made ready and rest on the same roles."""
    regions = {name.removeprefix(_CONFIGURATION) for name in records if name.startswith(_CONFIGURATION)}
    return sorted(regions - {region})


def write(iam: Any, name: str) -> None:
    """Write down that emr-setup made it. Called when it is made: what is lost in between stays, as somebody else's."""
    iam.tag_role(RoleName=SERVICE_ROLE, Tags=[{"Key": name, "Value": "true"}])


def erase(iam: Any, name: str) -> None:
    """Write down that it is gone."""
    iam.untag_role(RoleName=SERVICE_ROLE, TagKeys=[name])
