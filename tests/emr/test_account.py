"""emr-setup and emr-down against moto's IAM, S3, KMS, EC2, EMR and Budgets: made once, found again, removed."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from launch.emr import aws, free_plan, key, policies, record
from launch.emr.change import Change
from tests.emr.conftest import ACCOUNT, BUCKET, REGION

SETUP = ("emr-setup", "--bucket", BUCKET)
BUDGET = ("--budget-usd", "20", "--email", "me@example.org")


def client(service):
    return boto3.client(service, region_name=REGION)


@pytest.fixture
def made(amazon, launch):
    code, out, error = launch(*SETUP, *BUDGET)
    assert (code, error) == (0, "")
    return out


def everything():
    """What an account holds, as far as emr-setup may touch it."""
    iam, s3 = client("iam"), client("s3")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {
        "roles": sorted(role["RoleName"] for role in iam.list_roles()["Roles"]),
        "profiles": [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]],
        "buckets": {name: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"] for name in buckets},
        "keys": sorted(
            alias["AliasName"] for alias in client("kms").list_aliases()["Aliases"] if "aws/" not in alias["AliasName"]
        ),
        "budgets": [each["BudgetName"] for each in budgets().describe_budgets(AccountId=ACCOUNT).get("Budgets", ())],
        "policies": [each["PolicyName"] for each in iam.list_policies(Scope="Local")["Policies"]],
        "tags": client("ec2").describe_tags()["Tags"],
    }


def budgets():
    return boto3.client("budgets", region_name="us-east-1")


def test_the_roles_have_the_rights_in_policies_and_no_more(made):
    iam = client("iam")
    values = {"account": ACCOUNT, "bucket": BUCKET}
    bound = f"arn:aws:iam::{ACCOUNT}:policy/emrlab-boundary"
    assert iam.get_policy_version(PolicyArn=bound, VersionId="v1")["PolicyVersion"]["Document"] == policies.document(
        "emr/boundary", **values
    )
    for role, inline in {"emrlab-service": ["emr/service"], "emrlab-node": ["emr/node", "job"]}.items():
        boundary = iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]
        assert boundary["PermissionsBoundaryArn"] == bound
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        assert sorted(names) == [name.replace("/", "-") for name in inline]
        for name in inline:
            found = iam.get_role_policy(RoleName=role, PolicyName=name.replace("/", "-"))["PolicyDocument"]
            assert found == policies.document(name, **values)
    attached = iam.list_attached_role_policies(RoleName="emrlab-service")["AttachedPolicies"]
    assert [each["PolicyName"] for each in attached] == ["AmazonEMRServicePolicy_v2"]
    assert iam.list_attached_role_policies(RoleName="emrlab-node")["AttachedPolicies"] == []
    (role,) = iam.get_instance_profile(InstanceProfileName="emrlab-node")["InstanceProfile"]["Roles"]
    assert role["RoleName"] == "emrlab-node"
    trust = iam.get_role(RoleName="emrlab-service")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def at_rest():
    text = client("emr").describe_security_configuration(Name="emrlab")["SecurityConfiguration"]
    return json.loads(text)["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]


def test_without_being_asked_there_is_no_key_to_pay_for(made):
    assert everything()["keys"] == []
    assert at_rest() == {"S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}}
    assert "KMS" not in made


def test_a_key_of_ones_own_encrypts_the_disks_on_spot_too_and_stays_until_all_goes(made, launch):
    kms, iam = client("kms"), client("iam")
    code, out, _ = launch(*SETUP, "--own-key")
    found = kms.describe_key(KeyId="alias/emrlab")["KeyMetadata"]
    assert code == 0
    assert out.splitlines() == [
        "now there: KMS key alias/emrlab for the disks ($1 a month)",
        "now as in policies/emr/service-key.json: rights of emrlab-service",
        "now as in policies/emr/node-key.json: rights of emrlab-node",
        "now usable by spot machines: KMS key alias/emrlab",
        "now as wanted: security configuration emrlab in eu-west-3",
    ]
    assert at_rest()["LocalDiskEncryptionConfiguration"]["AwsKmsKey"] == found["Arn"]
    (grant,) = kms.list_grants(KeyId=found["KeyId"])["Grants"]
    assert grant["GranteePrincipal"].endswith("role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot")
    rights = iam.get_role_policy(RoleName="emrlab-node", PolicyName="emr-node-key")["PolicyDocument"]
    assert {resource for each in rights["Statement"] for resource in each["Resource"]} == {found["Arn"]}
    for more in ((), ("--own-key",)):
        assert launch(*SETUP, *more)[1] == "all is as wanted; nothing was changed\n"
    assert "gone in 7 days: KMS key alias/emrlab" in launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[1]
    assert kms.describe_key(KeyId=found["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert everything()["keys"] == []


def test_the_budget_is_a_months_with_alarms(made):
    budget = budgets().describe_budget(AccountId=ACCOUNT, BudgetName="emrlab")["Budget"]
    assert (float(budget["BudgetLimit"]["Amount"]), budget["TimeUnit"]) == (20, "MONTHLY")
    alarms = budgets().describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName="emrlab")["Notifications"]
    assert [(each["NotificationType"], each["Threshold"]) for each in alarms] == [("ACTUAL", 80), ("FORECASTED", 100)]


def test_every_change_is_said_and_the_second_time_there_is_none(made, launch):
    for what in (
        "role emrlab-service",
        "instance profile emrlab-node",
        f"bucket {BUCKET}",
        "policy emrlab-boundary",
        "budget emrlab",
    ):
        assert f"now there: {what}" in made
    before = everything()
    assert launch(*SETUP, *BUDGET) == (0, "all is as wanted; nothing was changed\n", "")
    assert everything() == before


@pytest.mark.parametrize("more", [(), ("--own-key",)])
def test_a_dry_run_says_the_same_and_changes_nothing(amazon, launch, more):
    before = everything()
    code, said, _ = launch(*SETUP, *BUDGET, *more, "--dry-run")
    assert code == 0
    assert everything() == before
    done = launch(*SETUP, *BUDGET, *more)[1]
    assert said.replace("would be", "now") == done


def test_what_drifted_is_mended_and_nothing_else_said(made, launch):
    less = policies.document("history", bucket=BUCKET)
    client("iam").put_role_policy(RoleName="emrlab-node", PolicyName="job", PolicyDocument=json.dumps(less))
    client("s3").delete_public_access_block(Bucket=BUCKET)
    client("emr").delete_security_configuration(Name="emrlab")
    client("emr").create_security_configuration(Name="emrlab", SecurityConfiguration="{}")
    assert launch(*SETUP)[1].splitlines() == [
        f"now closed to the public: bucket {BUCKET}",
        "now as in policies/job.json: rights of emrlab-node",
        "now as wanted: security configuration emrlab in eu-west-3",
    ]
    assert launch(*SETUP)[1] == "all is as wanted; nothing was changed\n"


def test_another_amount_replaces_the_budget(made, launch):
    assert "budget emrlab of $35 a month" in launch(*SETUP, "--budget-usd", "35", "--email", "me@example.org")[1]
    assert (
        float(budgets().describe_budget(AccountId=ACCOUNT, BudgetName="emrlab")["Budget"]["BudgetLimit"]["Amount"])
        == 35
    )


def test_back_to_nothing(amazon, launch):
    before = everything()
    launch(*SETUP, *BUDGET, "--own-key")
    client("s3").put_object(Bucket=BUCKET, Key="images/Kiwi/0_0.jpg", Body=b"x" * 2_000_000)
    ours = client("kms").describe_key(KeyId="alias/emrlab")["KeyMetadata"]["KeyId"]
    code, out, _ = launch("emr-down", "--account", "--bucket", BUCKET, "--dry-run")
    assert code == 0
    assert f"would be gone: bucket {BUCKET} with 2 objects, 2.0 MB" in out
    assert client("s3").head_bucket(Bucket=BUCKET)
    assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0
    left = everything()
    assert [name for name in left.pop("roles") if not name.startswith("AWSServiceRoleFor")] == before.pop("roles")
    assert left == before
    assert client("kms").describe_key(KeyId=ours)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    code, out, _ = launch("emr-down", "--account", "--bucket", BUCKET, "--yes")
    assert (code, out) == (0, "0 clusters of emrlab in eu-west-3: none\n")


def test_a_role_of_that_name_that_is_not_ours_is_left_alone(amazon, launch):
    client("iam").create_role(RoleName="emrlab-node", AssumeRolePolicyDocument="{}")
    code, _, error = launch(*SETUP)
    assert code == 1
    assert error == (
        "error: the account has a role emrlab-node that is not emrlab's: it lacks the tag; rename or remove it\n"
    )
    launch("emr-down", "--account", "--bucket", BUCKET, "--yes")
    assert client("iam").get_role(RoleName="emrlab-node")


def test_a_boundary_that_drifted_and_a_role_that_lost_it_are_mended(made, launch):
    iam, bound = client("iam"), f"arn:aws:iam::{ACCOUNT}:policy/emrlab-boundary"
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    for _ in range(4):
        iam.create_policy_version(PolicyArn=bound, PolicyDocument=json.dumps(wide), SetAsDefault=True)
    iam.delete_role_permissions_boundary(RoleName="emrlab-node")
    assert launch(*SETUP)[1].splitlines() == [
        "now as in policies/emr/boundary.json: policy emrlab-boundary",
        "now within emrlab-boundary: role emrlab-node",
    ]
    assert launch(*SETUP)[1] == "all is as wanted; nothing was changed\n"
    assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0
    assert everything()["policies"] == []


def test_an_account_on_the_free_plan_is_made_ready_with_a_warning(amazon, launch, monkeypatch):
    monkeypatch.setattr(free_plan, "is_free", lambda: True)
    warning = f"warning: {aws.FREE_PLAN}"
    code, out, _ = launch(*SETUP)
    assert (code, out.splitlines()[0]) == (0, warning)
    assert launch(*SETUP)[1].splitlines() == [warning, "all is as wanted; nothing was changed"]


def test_a_profile_a_key_a_configuration_and_a_budget_of_others_are_left_alone(amazon, launch):
    """Each stops setup with a line, and outlives the removal, which takes what setup made before."""
    iam, emr, kms = client("iam"), client("emr"), client("kms")

    def refused(words, *more):
        code, _, error = launch(*SETUP, *BUDGET, *more)
        assert code == 1
        assert words in error
        assert len(error.splitlines()) == 1
        assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0

    theirs = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/emrlab", TargetKeyId=theirs)
    refused("alias/emrlab names a key that is not emrlab's", "--own-key")
    assert launch(*SETUP)[0] == 0, "without the flag nobody asks for it"
    launch("emr-down", "--account", "--bucket", BUCKET, "--yes")
    assert kms.describe_key(KeyId="alias/emrlab")["KeyMetadata"]["KeyState"] == "Enabled"
    kms.delete_alias(AliasName="alias/emrlab")

    iam.create_instance_profile(InstanceProfileName="emrlab-node")
    refused("the account has an instance profile emrlab-node that is not emrlab's")
    assert iam.get_instance_profile(InstanceProfileName="emrlab-node")
    iam.delete_instance_profile(InstanceProfileName="emrlab-node")

    emr.create_security_configuration(Name="emrlab", SecurityConfiguration='{"of": "others"}')
    refused("eu-west-3 has a security configuration emrlab that emr-setup did not make")
    assert emr.describe_security_configuration(Name="emrlab")["SecurityConfiguration"] == '{"of": "others"}'
    emr.delete_security_configuration(Name="emrlab")

    budget = {"BudgetName": "emrlab", "BudgetLimit": {"Amount": "7", "Unit": "USD"}}
    budgets().create_budget(AccountId=ACCOUNT, Budget={**budget, "TimeUnit": "MONTHLY", "BudgetType": "COST"})
    refused("the account has a budget emrlab that emr-setup did not make")
    assert budgets().describe_budget(AccountId=ACCOUNT, BudgetName="emrlab")["Budget"]["BudgetLimit"]["Amount"] == "7"


def test_what_one_region_rests_on_stays_until_the_last_is_removed(made, launch):
    """moto's server takes every call to EMR for one of us-east-1: the other region is written down by hand."""
    record.write(client("iam"), record.configuration("eu-west-1"))
    code, out, _ = launch("emr-down", "--account", "--bucket", BUCKET, "--yes")
    assert code == 0
    assert out.count("left as they are: roles and budget, on which eu-west-1 rests") == 1
    assert client("iam").get_role(RoleName="emrlab-node")
    record.erase(client("iam"), record.configuration("eu-west-1"))
    out = launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[1]
    for what in ("role emrlab-node", "role emrlab-service", "budget emrlab"):
        assert f"now gone: {what}\n" in out


def test_a_key_that_gets_no_name_is_not_paid_for(stubs):
    stubs.refuse("kms", "describe_key", "NotFoundException")
    stubs.answer("kms", "create_key", {"KeyMetadata": {"KeyId": "0b", "Arn": "arn:aws:kms:eu-west-3:1:key/0b"}})
    stubs.refuse("kms", "create_alias", "AccessDeniedException")
    stubs.answer("kms", "schedule_key_deletion", {}, {"KeyId": "0b", "PendingWindowInDays": 7})
    with pytest.raises(ClientError, match="AccessDenied"):
        key.ensure(REGION, ACCOUNT, Change(dry_run=False, show=print, remark=print))
    stubs.assert_all_asked()


def test_in_virginia_the_bucket_has_no_location_constraint(amazon, launch):
    assert launch(*SETUP, "--region", "us-east-1")[0] == 0
    assert client("s3").get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None


@pytest.mark.parametrize("flags", [("--budget-usd", "20"), ("--email", "me@example.org")])
def test_budget_and_address_belong_together(launch, flags):
    code, _, error = launch(*SETUP, *flags)
    assert code == 2
    assert "BUDGET_USD and EMAIL (--budget-usd, --email) belong together" in error


def test_a_bucket_of_another_account_is_refused(stubs, launch):
    stubs.answer("sts", "get_caller_identity", {"Account": ACCOUNT, "UserId": "u", "Arn": "arn:aws:iam::1:user/u"})
    stubs.refuse("s3", "get_bucket_location", "AccessDenied", "Access Denied", 403)
    code, _, error = launch(*SETUP)
    assert code == 1
    assert error.startswith("error: access denied")


def test_a_name_that_is_taken_says_to_choose_another(stubs, launch):
    stubs.answer("sts", "get_caller_identity", {"Account": ACCOUNT, "UserId": "u", "Arn": "arn:aws:iam::1:user/u"})
    stubs.refuse("s3", "get_bucket_location", "NoSuchBucket", status=404)
    stubs.refuse("s3", "create_bucket", "BucketAlreadyExists", "not available", 409)
    code, _, error = launch(*SETUP)
    assert code == 1
    assert "choose another BUCKET" in error
