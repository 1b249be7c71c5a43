"""The rights in the documents: enough for every call as recorded at moto, none to spare, and none that does harm.

Resources and conditions are evaluated, by the small IAM of iam.py.
"""

import json

import boto3
import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from launch import session
from launch.emr import aws, policies, roles, sessions
from launch.emr.change import Change
from launch.emr.roles import SERVICE_POLICY
from tests.emr import iam
from tests.emr.conftest import ACCOUNT, BUCKET, REGION
from tests.emr.iam import CLUSTER, KMS, NEW_CLUSTER, POLICY, PROFILE, ROLE, Request
from tests.emr.machinery import Machinery, moto_clusters

VALUES = {"account": ACCOUNT, "bucket": BUCKET, "key": f"{KMS}key/k"}
SETUP = ("emr-setup", "--bucket", BUCKET)
BUDGET = ("--budget-usd", "20", "--email", "me@example.org")
BOUNDARY = f"{POLICY}emrlab-boundary"
OURS = {"aws:ResourceTag/emrlab": "true"}
OF_SESSIONS = {
    f"elasticmapreduce:{name}" for name in ("GetSession", "GetSessionEndpoint", "StartSession", "TerminateSession")
}
WITHIN = {"iam:PermissionsBoundary": BOUNDARY}
OF_EMR = ("boundary", "caller", "key", "node", "node-key", "service", "service-key", "setup")
DOCUMENTS = (*(f"emr/{name}" for name in OF_EMR), "data", "job")


def statements(*names):
    return [each for name in names for each in policies.document(name, **VALUES)["Statement"]]


def actions(*names, effect="Allow"):
    return {action for each in statements(*names) if each["Effect"] == effect for action in each["Action"]}


@pytest.fixture
def called(monkeypatch):
    """What IAM is asked for every call that is made through aws.client."""
    requests, make = list[Request](), aws.client

    def note(params, model, **_):
        requests.extend(iam.requests(model.service_model.service_name, model.name, params))

    def client(service, region, **more):
        made = make(service, region, **more)
        made.meta.events.register("provide-client-params", note)
        return made

    monkeypatch.setattr(aws, "client", client)
    return requests


def refused(requests, *names):
    return [each for each in requests if not iam.allowed(statements(*names), each)]


def used(requests):
    return {each.action for each in requests}


@pytest.fixture
def boundary(amazon):
    """What an administrator makes, once."""
    document = json.dumps(policies.document("emr/boundary", **VALUES))
    client = boto3.client("iam", region_name=REGION)
    client.create_policy(PolicyName="emrlab-boundary", PolicyDocument=document, Tags=[aws.TAG])


def test_setup_and_removal_use_every_right_of_their_document_and_no_other(boundary, launch, called):
    assert launch(*SETUP, *BUDGET)[0] == 0
    client = boto3.client("iam", region_name=REGION)
    client.delete_role_permissions_boundary(RoleName="emrlab-service")
    trusted = json.dumps(policies.document("emr/node-trust"))
    client.update_assume_role_policy(RoleName="emrlab-service", PolicyDocument=trusted)
    assert launch(*SETUP)[0] == 0
    assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0
    for_administrators = {"iam:DeletePolicy", "iam:ListPolicyVersions"}
    mine = [each for each in called if each.action not in for_administrators]
    assert refused(mine, "emr/setup", "emr/caller") == []
    only_of_a_key = {"kms:ListResourceTags"}
    assert used(mine) - {"elasticmapreduce:ListClusters"} | only_of_a_key == actions("emr/setup")


def test_a_key_of_ones_own_needs_its_document_too_and_all_of_it(boundary, launch, called):
    assert launch(*SETUP, "--own-key")[0] == 0
    assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0
    of_keys = [each for each in called if each.action.startswith("kms:")]
    assert refused(of_keys, "emr/setup", "emr/key") == []
    assert {"kms:DescribeKey", "kms:ListResourceTags"} <= used(of_keys)
    assert used(of_keys) - actions("emr/setup") == actions("emr/key")


def test_a_run_and_what_looks_after_it_need_the_callers_rights_and_no_other(ready, launch, run_args, called):
    with Machinery():
        assert launch(*run_args, "--keep")[0] == 0
        (cluster,) = moto_clusters()
        assert launch(*run_args, "--cluster", cluster)[0] == 0
        assert launch("emr-status")[0] == 0
        assert launch("emr-logs")[0] == 0
        assert launch("emr-stop")[0] == 0
        assert launch("emr-down")[0] == 0
    assert refused(called, "emr/caller", "data") == []
    no_cause = {"elasticmapreduce:CancelSteps", "pricing:GetProducts"}
    assert actions("emr/caller") - used(called) == no_cause | OF_SESSIONS


def test_a_session_needs_the_callers_rights(sessions_of_emr, launch, called, monkeypatch, tmp_path):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "CACHE", tmp_path)
    monkeypatch.setattr(sessions, "_is_open", press)
    assert launch("session", "--target", "emr", "--bucket", BUCKET, "--yes")[0] == 0
    assert refused(called, "emr/caller", "data") == []
    assert used(called) >= OF_SESSIONS


def test_setup_without_an_administrators_boundary_is_one_line(stubs):
    stubs.refuse("iam", "get_policy", "NoSuchEntity", status=404)
    stubs.refuse("iam", "create_policy", "AccessDenied", status=403)
    with pytest.raises(aws.EmrError, match="emrlab-boundary is for an administrator to make or change") as failed:
        roles.ensure(REGION, VALUES, Change(dry_run=False, show=print, remark=print))
    assert len(str(failed.value).splitlines()) == 1


def test_a_boundary_that_one_may_not_remove_stays(stubs):
    for operation in ("get_instance_profile", "get_role", "get_role"):
        stubs.refuse("iam", operation, "NoSuchEntity", status=404)
    stubs.answer("iam", "get_policy", {"Policy": {"Arn": BOUNDARY, "Tags": [aws.TAG]}})
    stubs.refuse("iam", "list_policy_versions", "AccessDenied", status=403)
    lines = list[str]()
    roles.remove(REGION, ACCOUNT, Change(dry_run=False, show=lines.append, remark=lines.append))
    assert lines == [
        "now gone, if you may remove it: policy emrlab-boundary, which grants nothing and costs nothing",
    ]
    stubs.assert_all_asked()


FOREIGN = {"elasticmapreduce:ResourceTag/team": "maps"}
EMR_KEY = "for-use-with-amazon-emr-managed-policies"
SUBNET = f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-0"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
CALLERS_HARM = {
    "end somebody else's cluster": Request("elasticmapreduce:TerminateJobFlows", f"{CLUSTER}j-1", FOREIGN),
    "run a step on it": Request("elasticmapreduce:AddJobFlowSteps", f"{CLUSTER}j-1", FOREIGN),
    "cancel its steps": Request("elasticmapreduce:CancelSteps", f"{CLUSTER}j-1"),
    "make it look like ours": Request(
        "elasticmapreduce:AddTags", f"{CLUSTER}j-1", FOREIGN | {"aws:RequestTag/emrlab": "true"}
    ),
    "open a session on it": Request("elasticmapreduce:StartSession", f"{CLUSTER}j-1", FOREIGN),
    "get into its sessions": Request("elasticmapreduce:GetSessionEndpoint", f"{CLUSTER}j-1", FOREIGN),
    "let it end when idle": Request("elasticmapreduce:PutAutoTerminationPolicy", f"{CLUSTER}j-1", FOREIGN),
    "take a tag off ours": Request(
        "elasticmapreduce:RemoveTags", f"{CLUSTER}j-1", {"elasticmapreduce:ResourceTag/emrlab": "true"}
    ),
    "start a cluster without the tag": Request("elasticmapreduce:RunJobFlow", "*", {"aws:RequestTag/team": "maps"}),
    "give EMR another role": Request(
        "iam:PassRole", f"{ROLE}admin", {"iam:PassedToService": "elasticmapreduce.amazonaws.com"}
    ),
    "give the nodes' role to another service": Request(
        "iam:PassRole", f"{ROLE}emrlab-node", {"iam:PassedToService": "lambda.amazonaws.com"}
    ),
    "give EMR's role to machines": Request(
        "iam:PassRole", f"{ROLE}emrlab-service", {"iam:PassedToService": "ec2.amazonaws.com"}
    ),
    "delete a bucket": Request("s3:DeleteBucket", f"arn:aws:s3:::{BUCKET}", {"aws:ResourceAccount": ACCOUNT}),
}
SETUPS_HARM = {
    "the nodes' role as administrator": Request(
        "iam:AttachRolePolicy", f"{ROLE}emrlab-node", OURS | WITHIN | {"iam:PolicyARN": ADMINISTRATOR}
    ),
    "EMR's role as administrator": Request(
        "iam:AttachRolePolicy", f"{ROLE}emrlab-service", OURS | WITHIN | {"iam:PolicyARN": ADMINISTRATOR}
    ),
    "oneself as administrator": Request(
        "iam:AttachUserPolicy", f"arn:aws:iam::{ACCOUNT}:user/me", {"iam:PolicyARN": ADMINISTRATOR}
    ),
    "rights of one's own making for oneself": Request("iam:PutUserPolicy", f"arn:aws:iam::{ACCOUNT}:user/me"),
    "a role without a boundary": Request("iam:CreateRole", f"{ROLE}emrlab-node"),
    "a role within a boundary of one's own": Request(
        "iam:CreateRole", f"{ROLE}emrlab-node", {"iam:PermissionsBoundary": f"{POLICY}emrlab-mine"}
    ),
    "a role within a boundary that leaves all": Request(
        "iam:PutRolePermissionsBoundary", f"{ROLE}emrlab-node", OURS | {"iam:PermissionsBoundary": ADMINISTRATOR}
    ),
    "a role of another name": Request("iam:CreateRole", f"{ROLE}emrlab-admin", WITHIN),
    "rights for another role": Request("iam:PutRolePolicy", f"{ROLE}deploy", WITHIN),
    "rights for a role of ours that lost its boundary": Request("iam:PutRolePolicy", f"{ROLE}emrlab-node", OURS),
    "Amazon's policy for a role without boundary": Request(
        "iam:AttachRolePolicy", f"{ROLE}emrlab-service", OURS | {"iam:PolicyARN": SERVICE_POLICY}
    ),
    "another role taken on": Request("iam:UpdateAssumeRolePolicy", f"{ROLE}admin", OURS),
    "a role of our name that is not ours taken on": Request("iam:UpdateAssumeRolePolicy", f"{ROLE}emrlab-node"),
    "a role that is not ours removed": Request("iam:DeleteRole", f"{ROLE}emrlab-node"),
    "the boundary made by oneself": Request("iam:CreatePolicy", BOUNDARY),
    "the boundary widened": Request("iam:CreatePolicyVersion", BOUNDARY),
    "an older boundary": Request("iam:SetDefaultPolicyVersion", BOUNDARY),
    "the boundary removed": Request("iam:DeletePolicy", BOUNDARY),
    "the boundary taken off": Request("iam:DeleteRolePermissionsBoundary", f"{ROLE}emrlab-node", OURS | WITHIN),
    "another role for machines": Request("iam:PassRole", f"{ROLE}admin", {"iam:PassedToService": "ec2.amazonaws.com"}),
    "our role for a function": Request(
        "iam:PassRole", f"{ROLE}emrlab-node", {"iam:PassedToService": "lambda.amazonaws.com"}
    ),
    "another profile's role changed": Request("iam:AddRoleToInstanceProfile", f"{PROFILE}web"),
    "a role of another service": Request(
        "iam:CreateServiceLinkedRole", f"{ROLE}aws-service-role/x", {"iam:AWSServiceName": "eks.amazonaws.com"}
    ),
    "another bucket deleted": Request("s3:DeleteBucket", "arn:aws:s3:::payroll", {"aws:ResourceAccount": ACCOUNT}),
    "another bucket's objects": Request("s3:GetObject", "arn:aws:s3:::payroll/x", {"aws:ResourceAccount": ACCOUNT}),
    "a bucket of this name in another account": Request(
        "s3:PutLifecycleConfiguration", f"arn:aws:s3:::{BUCKET}", {"aws:ResourceAccount": "999999999999"}
    ),
    "a key of others deleted": Request("kms:ScheduleKeyDeletion", f"{KMS}key/theirs", {"aws:ResourceTag/team": "x"}),
    "a key of others under our tag": Request(
        "kms:TagResource",
        f"{KMS}key/theirs",
        {"kms:ResourceAliases": ["alias/payroll"], "aws:TagKeys": ["emrlab"], "aws:RequestTag/emrlab": "true"},
    ),
    "a key of others under our name": Request(
        "kms:CreateAlias", f"{KMS}key/theirs", {"kms:ResourceAliases": ["alias/payroll"]}
    ),
    "another alias": Request("kms:DeleteAlias", f"{KMS}alias/payroll"),
    "our key for somebody": Request(
        "kms:CreateGrant", f"{KMS}key/k", OURS | {"kms:GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:user/me"}
    ),
    "a key of others for spot machines": Request(
        "kms:CreateGrant",
        f"{KMS}key/theirs",
        {"kms:GranteePrincipal": f"{ROLE}aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"},
    ),
    "what is in a key's reach": Request("kms:Decrypt", f"{KMS}key/k", OURS),
    "a subnet of others untagged": Request("ec2:DeleteTags", SUBNET, {"aws:TagKeys": [EMR_KEY]}),
    "a subnet that EMR may use already, as ours": Request(
        "ec2:CreateTags", SUBNET, {f"aws:ResourceTag/{EMR_KEY}": "true", "aws:TagKeys": ["emrlab"]}
    ),
    "a machine tagged for EMR": Request(
        "ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0", {"aws:TagKeys": [EMR_KEY]}
    ),
    "a tag of others changed": Request("ec2:CreateTags", SUBNET, {"aws:TagKeys": ["emrlab", "cost-center"]}),
    "another budget": Request("budgets:ModifyBudget", f"arn:aws:budgets::{ACCOUNT}:budget/company"),
}


@pytest.mark.parametrize("harm", CALLERS_HARM)
def test_a_caller_may_not(harm):
    assert not iam.allowed(statements("emr/caller", "data"), CALLERS_HARM[harm])


@pytest.mark.parametrize("harm", SETUPS_HARM)
def test_who_makes_the_account_ready_may_not_have(harm):
    assert not iam.allowed(statements("emr/setup", "emr/key", "emr/caller", "data"), SETUPS_HARM[harm])


def test_a_cluster_is_tagged_at_its_start_and_only_ours_later():
    rights = statements("emr/caller")
    assert iam.allowed(rights, Request("elasticmapreduce:AddTags", NEW_CLUSTER))
    assert iam.allowed(
        rights, Request("elasticmapreduce:AddTags", f"{CLUSTER}j-1", {"elasticmapreduce:ResourceTag/emrlab": "true"})
    )
    assert not iam.allowed(rights, Request("elasticmapreduce:AddTags", f"{CLUSTER}j-1"))


ESCAPES = {
    "become administrator": Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x"),
    "give machines another role": Request("iam:PassRole", f"{ROLE}admin", {"iam:PassedToService": "ec2.amazonaws.com"}),
    "take on a role": Request("sts:AssumeRole", f"{ROLE}admin"),
    "read another bucket": Request("s3:GetObject", "arn:aws:s3:::payroll/x"),
    "delete the bucket": Request("s3:DeleteBucket", f"arn:aws:s3:::{BUCKET}"),
    "change a machine of others": Request(
        "ec2:ModifyInstanceAttribute", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0"
    ),
    "end a machine of others": Request("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0"),
    "tag a machine of others for EMR": Request(
        "ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0", {f"aws:RequestTag/{EMR_KEY}": "true"}
    ),
    "read a key of others": Request("kms:Decrypt", f"{KMS}key/theirs", {"aws:ResourceTag/team": "x"}),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_whatever_rights_a_role_is_given_the_boundary_rules_out_to(escape):
    assert not iam.allowed(statements("emr/boundary"), ESCAPES[escape])


def test_the_boundary_leaves_what_the_roles_are_given_and_amazons_policy():
    """Their actions: on what, the documents themselves say."""
    left = actions("emr/boundary")
    amazons = json.loads(aws_managed_policies_data)[SERVICE_POLICY.rpartition("/")[2]]["Document"]["Statement"]
    given = {
        action
        for each in amazons
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    given |= actions("job", "emr/node", "emr/node-key", "emr/service", "emr/service-key")
    assert [action for action in sorted(given) if action not in left and not action.startswith("ec2:Describe")] == []
    for request in (
        Request("s3:PutObject", f"arn:aws:s3:::{BUCKET}/results/x"),
        Request("s3:PutObject", f"arn:aws:s3:::{BUCKET}/emrlab-logs/x"),
        Request("iam:PassRole", f"{ROLE}emrlab-node", {"iam:PassedToService": "ec2.amazonaws.com"}),
        Request("kms:GenerateDataKey", f"{KMS}key/k", OURS),
        Request("kms:CreateGrant", f"{KMS}key/x", {"kms:ViaService": "ec2.eu-west-3.amazonaws.com"}),
        Request("ec2:TerminateInstances", "i", {f"aws:ResourceTag/{EMR_KEY}": "true"}),
        Request("ec2:CreateTags", "i", {"ec2:CreateAction": "RunInstances"}),
    ):
        assert iam.allowed(statements("emr/boundary"), request), request


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_short_enough_for_a_managed_policy(name):
    longest = {"account": "1" * 12, "bucket": "b" * 63, "key": f"arn:aws:kms:ap-southeast-1:{'1' * 12}:key/{'0' * 36}"}
    assert len(json.dumps(policies.document(name, **longest), separators=(",", ":"))) <= 6144


def test_no_right_is_for_everything():
    for name in DOCUMENTS:
        assert {action for action in actions(name) if "*" in action} <= {"ec2:Describe*"}


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"k": ["a", "b"]}}, {"K": "b"}, True),
        ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
        ({"StringLike": {"k": "a*"}}, {"k": "ab"}, True),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "a"}, False),
        ({"Null": {"k": "false"}}, {"k": "a"}, True),
        ({"Bool": {"k": "true"}}, {"k": "false"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, True),
        ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a"}, False),
    ],
)
def test_conditions_are_read_as_iam_reads_them(condition, context, holds):
    statement = {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": ["*"], "Condition": condition}
    assert iam.allowed([statement], Request("s3:getobject", "arn", context)) is holds


def test_a_denial_wins_and_an_escaped_asterisk_is_one():
    allow = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["a/*"]}
    assert iam.allowed([allow], Request("s3:GetObject", "a/b"))
    assert not iam.allowed([allow, {**allow, "Effect": "Deny"}], Request("s3:GetObject", "a/b"))
    escaped = {**allow, "Resource": ["a/${*}"]}
    assert iam.allowed([escaped], Request("s3:GetObject", "a/*"))
    assert not iam.allowed([escaped], Request("s3:GetObject", "a/b"))
