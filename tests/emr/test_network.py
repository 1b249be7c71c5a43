"""The subnets of clusters at moto's EC2: tagged where EMR's tag is missing, and given back as they were."""

from collections import defaultdict

import boto3
import pytest

from launch.emr import aws, network
from launch.emr.change import Change
from tests.emr.conftest import REGION

EMR = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}
OURS = {"Key": "emrlab", "Value": "true"}


def ec2():
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture
def lines():
    """What is said."""
    return list[str]()


@pytest.fixture
def change(amazon, lines):
    return Change(dry_run=False, show=lines.append, remark=lines.append)


def default():
    """The default network: its VPC, and its subnets by zone."""
    subnets = ec2().describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    return subnets[0]["VpcId"], {each["AvailabilityZone"]: each["SubnetId"] for each in subnets}


def tags():
    """Keys of the tags of every resource that has some."""
    found = defaultdict[str, set[str]](set)
    for tag in ec2().describe_tags()["Tags"]:
        found[tag["ResourceId"]].add(tag["Key"])
    return dict(found)


def make_subnets(*zones):
    vpc = ec2().create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    made = [
        ec2().create_subnet(VpcId=vpc, CidrBlock=f"10.1.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    ]
    return vpc, made


def test_every_subnet_of_the_default_network_is_made_ready(change, lines):
    vpc, subnets = default()
    network.ensure(REGION, None, change)
    assert tags() == {name: {EMR["Key"], "emrlab"} for name in [vpc, *subnets.values()]}
    assert lines == [f"now tagged for EMR: {', '.join(sorted([vpc, *subnets.values()]))}"]
    assert network.ready(REGION, "m5.xlarge") == tuple(subnets[zone] for zone in sorted(subnets))
    network.ensure(REGION, None, change)
    assert len(lines) == 1, "the second time nothing is said"


def test_what_others_tagged_keeps_its_tag_and_gets_none_of_ours(change, lines):
    vpc, subnets = default()
    theirs = [vpc, subnets["eu-west-3b"]]
    ec2().create_tags(Resources=theirs, Tags=[EMR, {"Key": "team", "Value": "maps"}])
    before = tags()
    network.ensure(REGION, None, change)
    assert {name: tags()[name] for name in theirs} == before
    assert set(network.ready(REGION, "m5.xlarge")) == set(subnets.values()), "what is ready is used"
    network.release(REGION, change)
    assert tags() == before
    assert lines[-1] == f"now without our tags: {', '.join(sorted(set(subnets.values()) - set(theirs)))}"


def test_the_tags_that_are_set_are_all_taken_off(change, lines):
    network.ensure(REGION, None, change)
    network.release(REGION, change)
    assert tags() == {}
    network.release(REGION, change)
    assert len(lines) == 2


def test_what_others_forbid_emr_is_refused_and_stays(change):
    _, subnets = default()
    ec2().create_tags(Resources=[subnets["eu-west-3a"]], Tags=[{**EMR, "Value": "false"}])
    before = tags()
    with pytest.raises(aws.EmrError, match=f"{subnets['eu-west-3a']} has the tag .*=false, which is not emrlab's"):
        network.ensure(REGION, None, change)
    assert tags() == before


def test_a_subnet_of_ones_own_is_taken_ever_after(change):
    vpc, (subnet,) = make_subnets("eu-west-3c")
    network.ensure(REGION, subnet, change)
    assert set(tags()) == {vpc, subnet}
    assert network.ready(REGION, "m5.xlarge") == (subnet,)
    network.ensure(REGION, None, change)
    assert set(tags()) == {vpc, subnet}, "the default network was not asked for"


def test_subnets_of_one_network_are_taken_as_emr_wants_them(change):
    _, one = make_subnets("eu-west-3a")
    _, two = make_subnets("eu-west-3b", "eu-west-3c")
    for subnet in one + two:
        network.ensure(REGION, subnet, change)
    assert network.ready(REGION, "m5.xlarge") == tuple(two)


def test_zones_without_the_instance_type_are_left_out(stubs):
    subnets = [
        {"SubnetId": f"subnet-{zone}", "VpcId": "vpc-0", "AvailabilityZone": f"eu-west-3{zone}", "Tags": [EMR, OURS]}
        for zone in "cab"
    ]
    for zones, wanted in (("ab", ("subnet-a", "subnet-b")), ("c", ("subnet-c",))):
        stubs.answer("ec2", "describe_subnets", {"Subnets": subnets})
        offered = [{"InstanceType": "m7g.xlarge", "Location": f"eu-west-3{zone}"} for zone in zones]
        stubs.answer("ec2", "describe_instance_type_offerings", {"InstanceTypeOfferings": offered})
        assert network.ready(REGION, "m7g.xlarge") == wanted


@pytest.mark.parametrize(
    ("zones", "words"), [(["eu-west-3c"], "it is in eu-west-3c"), ([], "it is in no zone of eu-west-3")]
)
def test_a_type_that_no_subnet_has_is_named_with_the_zones_that_have_it(stubs, zones, words):
    subnet = {"SubnetId": "subnet-0", "VpcId": "vpc-0", "AvailabilityZone": "eu-west-3a", "Tags": [EMR, OURS]}
    stubs.answer("ec2", "describe_subnets", {"Subnets": [subnet]})
    offered = [{"InstanceType": "x9.xlarge", "Location": zone} for zone in zones]
    stubs.answer("ec2", "describe_instance_type_offerings", {"InstanceTypeOfferings": offered})
    with pytest.raises(aws.EmrError, match=f"INSTANCE_TYPE=x9.xlarge is not to be had in eu-west-3a.*; {words}"):
        network.ready(REGION, "x9.xlarge")


def test_without_a_default_network_a_subnet_is_asked_for(stubs):
    stubs.answer("ec2", "describe_subnets", {"Subnets": []})
    stubs.answer("ec2", "describe_subnets", {"Subnets": []})
    with pytest.raises(aws.EmrError, match="eu-west-3 has no default network; give a subnet that reaches S3: --subnet"):
        network.ensure(REGION, None, Change(dry_run=True, show=print, remark=print))
