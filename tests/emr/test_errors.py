"""Bad input, as AWS answers it: each one line with the fix, before anything is started."""

import os
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
    SSOTokenLoadError,
)

from base import compose, paths
from base.errors import UsageError
from launch import docker_lab
from launch.emr import aws, run_spec
from launch.emr.preflight import preflight
from tests.emr.conftest import ACCOUNT, BUCKET

KEY_WORDS = "AWS does not know this key"
CLOCK_WORDS = "this machine's clock is off"
QUOTA_WORDS = "the account's quota is too small"
ROLE_WORDS = "a role of the cluster is missing; run make emr-setup"


@pytest.mark.parametrize(
    ("service", "operation", "code", "message", "words"),
    [
        ("sts", "get_caller_identity", "ExpiredToken", "The security token is expired", "the session has expired"),
        ("sts", "get_caller_identity", "InvalidClientTokenId", "The security token is invalid", KEY_WORDS),
        ("sts", "get_caller_identity", "SignatureDoesNotMatch", "The request signature does not match", KEY_WORDS),
        (
            "sts",
            "get_caller_identity",
            "SignatureDoesNotMatch",
            "Signature expired: 20261122T100000Z is now earlier than 20261122T110000Z",
            CLOCK_WORDS,
        ),
        ("s3", "get_bucket_location", "RequestTimeTooSkewed", "The difference is too large", CLOCK_WORDS),
        (
            "s3",
            "get_bucket_location",
            "NoSuchBucket",
            "The specified bucket does not exist",
            "the bucket does not exist",
        ),
        ("s3", "get_bucket_location", "InvalidAccessKeyId", "The key does not exist", KEY_WORDS),
        ("s3", "head_bucket", "301", "Moved Permanently", "the bucket is in another region"),
        ("s3", "create_bucket", "BucketAlreadyExists", "The requested name is not available", "choose another BUCKET"),
        ("s3", "create_bucket", "InvalidBucketName", "The specified bucket is not valid", "no valid bucket name"),
        ("s3", "create_bucket", "IllegalLocationConstraintException", "unspecified", "another region"),
        ("emr", "run_job_flow", "ThrottlingException", "Rate exceeded", "AWS asks to slow down"),
        (
            "emr",
            "run_job_flow",
            "AccessDeniedException",
            "User is not authorized to perform: elasticmapreduce:RunJobFlow",
            "access denied; the caller needs policies/emr/caller.json",
        ),
        (
            "emr",
            "run_job_flow",
            "ValidationException",
            "The supplied release label is invalid: emr-spark-9.0.0.",
            "EMR does not offer that release in this region",
        ),
        ("emr", "run_job_flow", "ValidationException", "Invalid InstanceProfile: emrlab-node.", ROLE_WORDS),
        ("emr", "run_job_flow", "ValidationException", "Service role emrlab-service is invalid.", ROLE_WORDS),
        (
            "emr",
            "run_job_flow",
            "InvalidRequestException",
            "Security configuration with name 'emrlab' does not exist.",
            "the security configuration is missing in this region",
        ),
        (
            "emr",
            "run_job_flow",
            "ValidationException",
            "The subnet subnet-0 does not exist",
            "the subnet cannot be used",
        ),
        (
            "emr",
            "describe_cluster",
            "InvalidRequestException",
            "Cluster id 'j-0' is not valid.",
            "there is no such cluster in this region; check CLUSTER and REGION",
        ),
        ("emr", "run_job_flow", "ValidationException", "You exceed the vCPU limit of 8", QUOTA_WORDS),
        ("emr", "run_job_flow", "LimitExceededException", "Too many clusters", QUOTA_WORDS),
        (
            "emr",
            "run_job_flow",
            "ValidationException",
            "InvalidParameterCombination: The specified instance type is not eligible for Free Tier. For a list",
            "the account is on AWS's Free plan",
        ),
        ("emr", "run_job_flow", "InsufficientInstanceCapacity", "We do not have it", "AWS has no such machines"),
        ("ec2", "describe_subnets", "RequestLimitExceeded", "Request limit exceeded.", "AWS asks to slow down"),
        (
            "iam",
            "get_instance_profile",
            "AccessDenied",
            "User is not authorized to perform: iam:GetInstanceProfile on resource: instance profile emrlab-node",
            "access denied",
        ),
        ("ec2", "describe_subnets", "UnauthorizedOperation", "You are not authorized", "access denied"),
        ("ec2", "describe_subnets", "OptInRequired", "You are not subscribed", "finish its sign-up"),
        ("emr", "run_job_flow", "SomethingNew", "Whatever this is", "AWS refuses (RunJobFlow: SomethingNew, Whatever"),
    ],
)
def test_every_code_has_words(stubs, service, operation, code, message, words):
    stubs.refuse(service, operation, code, message)
    arguments: dict[str, dict[str, Any]] = {
        "get_bucket_location": {"Bucket": "b"},
        "head_bucket": {"Bucket": "b"},
        "create_bucket": {"Bucket": "b"},
        "run_job_flow": {"Name": "x", "Instances": {}},
        "describe_cluster": {"ClusterId": "j-0"},
        "get_instance_profile": {"InstanceProfileName": "emrlab-node"},
    }
    with pytest.raises(aws.AWS_ERRORS) as failed:
        getattr(stubs.client(service), operation)(**arguments.get(operation, {}))
    said = aws.explain(failed.value)
    assert words in said
    assert "\n" not in said
    assert code in said, "whoever asks for help can name the code"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no AWS credentials; run aws configure"),
        (PartialCredentialsError(provider="env", cred_var="secret_key"), "no AWS credentials"),
        (ProfileNotFound(profile="work"), "AWS_PROFILE names a profile that is not in"),
        (SSOTokenLoadError(error_msg="expired"), "the session has expired; sign in again (aws sso login)"),
        (EndpointConnectionError(endpoint_url="https://x"), "no answer from AWS; check the network and REGION"),
        (ConnectTimeoutError(endpoint_url="https://x"), "no answer from AWS; check the network and REGION"),
        (InvalidRegionError(region_name="eu west"), "check the network and REGION"),
        (ProxyConnectionError(proxy_url="http://proxy:3128"), "the proxy that HTTPS_PROXY names does not answer"),
        (
            SSLError(endpoint_url="https://x", error="[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
            "set AWS_CA_BUNDLE to a file with its authority's",
        ),
    ],
)
def test_what_never_reaches_aws_has_words(error, words):
    assert isinstance(error, BotoCoreError)
    said = aws.explain(error)
    assert words in said
    assert "\n" not in said


def identity(stubs):
    stubs.answer("sts", "get_caller_identity", {"Account": ACCOUNT, "UserId": "u", "Arn": "arn:aws:iam::1:user/u"})


def location(stubs, region):
    expected = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT}
    stubs.answer("s3", "get_bucket_location", {"LocationConstraint": region}, expected)


def test_the_checks_come_in_order_and_find_the_subnets(stubs, make_spec):
    identity(stubs)
    location(stubs, "eu-west-3")
    ready = [{"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}]
    subnet = {"SubnetId": "subnet-0a", "VpcId": "vpc-0", "AvailabilityZone": "eu-west-3b", "Tags": ready}
    ours = {"Filters": [{"Name": "tag:emrlab", "Values": ["true"]}]}
    stubs.answer("ec2", "describe_subnets", {"Subnets": [subnet]}, ours)
    offered = {"InstanceTypeOfferings": [{"InstanceType": "m5.xlarge", "Location": "eu-west-3b"}]}
    wanted = {
        "LocationType": "availability-zone",
        "Filters": [{"Name": "instance-type", "Values": ["m5.xlarge"]}],
    }
    stubs.answer("ec2", "describe_instance_type_offerings", offered, wanted)
    assert preflight(make_spec()).cluster.subnets == ("subnet-0a",)
    stubs.assert_all_asked()


def plan(stubs, **state):
    stubs.answer("freetier", "get_account_plan_state", {"accountId": ACCOUNT, "accountPlanStatus": "ACTIVE", **state})


def test_an_account_on_the_free_plan_is_told_before_the_price(stubs, make_spec):
    identity(stubs)
    location(stubs, "eu-west-3")
    plan(stubs, accountPlanType="FREE")
    with pytest.raises(UsageError, match=r"the account is on AWS's Free plan, .*; upgrade it under Billing") as failed:
        preflight(make_spec(subnets=("subnet-0a",)))
    assert len(str(failed.value).splitlines()) == 1
    stubs.assert_all_asked()


@pytest.mark.parametrize("code", [None, "AccessDeniedException", "ResourceNotFoundException", "ThrottlingException"])
def test_who_pays_and_who_may_not_ask_for_the_plan_runs(stubs, make_spec, code):
    identity(stubs)
    location(stubs, "eu-west-3")
    if code is None:
        plan(stubs, accountPlanType="PAID")
    else:
        stubs.refuse("freetier", "get_account_plan_state", code)
    assert preflight(make_spec(subnets=("subnet-0a",))).cluster.subnets == ("subnet-0a",)
    stubs.assert_all_asked()


def test_the_emr_lab_and_a_cluster_that_runs_need_no_plan(stubs, make_spec):
    stubs.answer("s3", "get_bucket_location", {"LocationConstraint": "eu-west-3"})
    assert preflight(make_spec(in_emr_lab=True)).in_emr_lab
    assert "freetier" not in stubs.made


def test_a_bucket_in_another_region_names_that_region(stubs, make_spec):
    identity(stubs)
    location(stubs, "eu-west-1")
    with pytest.raises(UsageError, match="is in eu-west-1, the cluster would be in eu-west-3; give REGION=eu-west-1"):
        preflight(make_spec())


def test_the_oldest_regions_have_names_of_their_own(stubs, make_spec):
    for answer, region in (("EU", "eu-west-1"), ("", "us-east-1")):
        identity(stubs)
        expected = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT}
        stubs.answer("s3", "get_bucket_location", {"LocationConstraint": answer} if answer else {}, expected)
        with pytest.raises(UsageError, match=f"give REGION={region}"):
            preflight(make_spec())


def test_another_accounts_bucket_is_told_from_a_missing_right(stubs, make_spec):
    identity(stubs)
    stubs.refuse("s3", "get_bucket_location", "AccessDenied", "Access Denied", 403)
    with pytest.raises(UsageError, match="belongs to another account, or this key has no right to it"):
        preflight(make_spec())


def test_without_a_subnet_the_fix_is_emr_setup(stubs, make_spec):
    identity(stubs)
    location(stubs, "eu-west-3")
    for _ in ("ours", "of the default network"):
        stubs.answer("ec2", "describe_subnets", {"Subnets": []})
    with pytest.raises(
        UsageError, match="no subnet of eu-west-3 is ready for clusters; run make emr-setup, or give --subnet"
    ):
        preflight(make_spec())


@pytest.mark.parametrize(
    ("tags", "state", "words"),
    [
        ({}, "WAITING", "was not started by emrlab"),
        ({"emrlab": "true", "emrlab-nodes": "2 x m5.xlarge"}, "TERMINATED", "CLUSTER=j-1 is terminated"),
    ],
)
def test_only_a_cluster_of_ours_that_lives_takes_a_step(stubs, make_spec, tags, state, words):
    identity(stubs)
    location(stubs, "eu-west-3")
    described = {"Id": "j-1", "Status": {"State": state}, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
    stubs.answer("emr", "describe_cluster", {"Cluster": described}, {"ClusterId": "j-1"})
    with pytest.raises(UsageError, match=words):
        preflight(make_spec(cluster_id="j-1"))


def test_a_kept_cluster_is_known_by_its_tags(stubs, make_spec):
    identity(stubs)
    location(stubs, "eu-west-3")
    tags = {"emrlab": "true", "emrlab-nodes": "4 x r5.xlarge"}
    described = {
        "ReleaseLabel": "emr-7.14.0",
        "Status": {"State": "WAITING"},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    stubs.answer("emr", "describe_cluster", {"Cluster": described})
    found = preflight(make_spec(cluster_id="j-1")).cluster
    assert (found.workers, found.instance_type, found.release) == (4, "r5.xlarge", "emr-7.14.0")


@pytest.mark.parametrize("name", ["Mine", "s3://mine", "a", "a..b", "-a-", "a_b", "x" * 64])
def test_a_name_that_no_bucket_can_have_is_told_at_once(make_spec, name):
    with pytest.raises(UsageError, match=r"is no valid name; 3 to 63 of a-z"):
        run_spec.check(make_spec(bucket=name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"input": "s3://other/images/x"},
            "--input s3://other/images/x: the nodes may use s3://photographs-of-mine/images",
        ),
        ({"input": f"s3://{BUCKET}/private"}, "the nodes may use"),
        ({"output": f"s3://{BUCKET}/images/out"}, "--output"),
        ({"input": "/no/such/folder"}, "no such folder"),
    ],
)
def test_places_that_the_nodes_may_not_use_are_told_at_once(make_spec, changes, words):
    with pytest.raises(UsageError, match=words):
        run_spec.check(make_spec(**changes))


def test_a_custom_endpoint_is_spared_the_checksums_it_may_not_know(keys, monkeypatch):
    amazon = aws.client("s3", "eu-west-3").meta.config
    assert amazon.request_checksum_calculation == "when_supported"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    ours = aws.client("s3", "eu-west-3").meta
    assert ours.endpoint_url == "http://127.0.0.1:9"
    assert ours.config.request_checksum_calculation == "when_required"
    assert ours.config.response_checksum_validation == "when_required"
    assert aws.client("emr", "eu-west-3").meta.endpoint_url == "https://elasticmapreduce.eu-west-3.amazonaws.com"


def test_the_lab_is_found_by_the_environment_or_by_docker(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", "")  # so that what is set below is undone
    monkeypatch.setattr(compose, "services", list)
    with pytest.raises(docker_lab.LabError, match="the lab's emr does not run; run: make emr-up"):
        aws.use_lab()
    endpoint = compose.Service(name="emr", state="running", published={5000: 5050})
    monkeypatch.setattr(compose, "services", lambda: [endpoint])
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    with pytest.raises(UsageError, match="has no key to the lab's S3"):
        aws.use_lab()
    paths.ENV_FILE.write_text("MINIO_ROOT_USER=root\nDATA_ACCESS_KEY_ID=data-1\nDATA_SECRET_ACCESS_KEY=secret\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")  # so that what is set below is undone
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    aws.use_lab()
    assert aws.client("emr", "eu-west-3").meta.endpoint_url == "http://127.0.0.1:5050"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "data-1"


def test_the_key_of_a_users_own_account_is_not_the_labs(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    paths.ENV_FILE.write_text("DATA_ACCESS_KEY_ID=data-1\nDATA_SECRET_ACCESS_KEY=secret\n")
    monkeypatch.setattr(docker_lab, "address", lambda *_, **__: "http://127.0.0.1:5050")
    own = {"ACCESS_KEY_ID": "AKIDOWN", "SECRET_ACCESS_KEY": "own", "SESSION_TOKEN": "own"}
    addresses = {"ENDPOINT_URL_EMR": "", "ENDPOINT_URL_S3": ""}
    for name, value in {**own, **addresses}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    aws.use_lab()
    credentials = aws.client("emr", "eu-west-3")._request_signer._credentials.get_frozen_credentials()
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("data-1", "secret", None)


def test_a_key_that_comes_with_the_labs_addresses_is_the_labs(monkeypatch):
    for name, value in {"ENDPOINT_URL_EMR": "http://127.0.0.1:1", "ENDPOINT_URL_S3": "http://127.0.0.1:2"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "data-2")  # of `make env`
    aws.use_lab()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "data-2"
