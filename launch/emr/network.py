"""The subnets of clusters: all of the default network, or one that a user names, with the tag that EMR's policy wants.

Where a subnet or its network lacked Amazon's tag, ours is set together with it, and says so for ever: who finds ours
knows that both may go. What somebody else had tagged is used, and gets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch.emr import aws
from launch.emr.aws import EMR_TAG, TAG, EmrError
from launch.emr.change import Change

Subnet = dict[str, Any]  # as DescribeSubnets gives it


def ensure(region: str, subnet: str | None, change: Change) -> None:
    """Tag the subnet and its network, or all subnets of the default network, where EMR's tag is missing.

    Raises:
        EmrError: there is no such network, or others have forbidden it to EMR.
        ClientError, BotoCoreError: AWS refuses.
    """
    ec2 = aws.client("ec2", region)
    subnets = list(_described(ec2, SubnetIds=[subnet]) if subnet else _chosen(ec2))
    if not subnets:
        raise EmrError(f"{region} has no default network; give a subnet that reaches S3: --subnet subnet-…")
    vpcs = ec2.describe_vpcs(VpcIds=sorted({each["VpcId"] for each in subnets}))["Vpcs"]
    resources = {each["SubnetId"]: each for each in subnets} | {each["VpcId"]: each for each in vpcs}
    values = {name: _tags(each).get(EMR_TAG["Key"]) for name, each in resources.items()}
    for name, value in values.items():
        if value not in {None, EMR_TAG["Value"]}:
            raise EmrError(
                f"{name} has the tag {EMR_TAG['Key']}={value}, which is not emrlab's: EMR may not use it; "
                "give another subnet, or change the tag"
            )
    if missing := sorted(name for name, value in values.items() if value is None):
        change(f"tagged for EMR: {', '.join(missing)}", lambda: ec2.create_tags(Resources=missing, Tags=[TAG, EMR_TAG]))


def ready(region: str, instance_type: str) -> tuple[str, ...]:
    """The subnets of one network that have EMR's tag and whose zone has machines of this type, by their zone.

    Raises:
        EmrError: there are none.
        ClientError, BotoCoreError: AWS refuses.
    """
    ec2 = aws.client("ec2", region)
    subnets = [each for each in _chosen(ec2) if _tags(each).get(EMR_TAG["Key"]) == EMR_TAG["Value"]]
    if not subnets:
        raise EmrError(f"no subnet of {region} is ready for clusters; run {aws.SETUP}, or give --subnet")
    offered = aws.pages(
        ec2,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": [instance_type]}],
    )
    zones = {str(each["Location"]) for each in offered}
    usable = [each for each in subnets if each["AvailabilityZone"] in zones]
    if not usable:
        raise EmrError(
            f"INSTANCE_TYPE={instance_type} is not to be had in {_zones(subnets)}, where the subnets are; it is in "
            f"{', '.join(sorted(zones)) or f'no zone of {region}'}; take another type, or give --subnet"
        )
    return tuple(str(each["SubnetId"]) for each in sorted(usable, key=lambda each: str(each["AvailabilityZone"])))


def release(region: str, change: Change) -> None:
    """Take both tags off what has ours.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    ec2 = aws.client("ec2", region)
    ours = {"Filters": [{"Name": f"tag:{TAG['Key']}", "Values": [TAG["Value"]]}]}
    resources = sorted(str(each["SubnetId"]) for each in _described(ec2, **ours))
    resources += sorted(str(each["VpcId"]) for each in aws.pages(ec2, "describe_vpcs", "Vpcs", **ours))
    if resources:
        change(
            f"without our tags: {', '.join(resources)}",
            lambda: ec2.delete_tags(Resources=resources, Tags=[TAG, EMR_TAG]),
        )


def _chosen(ec2: Any) -> list[Subnet]:
    """What a user made ready by name, else the default network: subnets of one network, as EMR wants them."""
    ours = list(_described(ec2, Filters=[{"Name": f"tag:{TAG['Key']}", "Values": [TAG["Value"]]}]))
    own = [each for each in ours if not each.get("DefaultForAz")]
    subnets = own or list(_described(ec2, Filters=[{"Name": "default-for-az", "Values": ["true"]}]))
    networks = {each["VpcId"]: [one for one in subnets if one["VpcId"] == each["VpcId"]] for each in subnets}
    return max(networks.values(), key=lambda each: (len(each), str(each[0]["VpcId"])), default=[])


def _described(ec2: Any, **query: Any) -> Iterable[Subnet]:
    return aws.pages(ec2, "describe_subnets", "Subnets", **query)


def _tags(resource: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", ())}


def _zones(subnets: Iterable[Subnet]) -> str:
    return ", ".join(sorted({str(each["AvailabilityZone"]) for each in subnets}))
