"""The bucket of emr-setup at moto's S3: one of its own, and one that was there, with all that others set."""

import json
from pathlib import Path

import boto3
import pytest

from launch.emr import aws, bucket, request
from launch.emr.bucket import LOGS_RULE, UPLOADS_RULE
from launch.emr.change import Change
from tests.emr.conftest import ACCOUNT, BUCKET, REGION

SETUP = ("emr-setup", "--bucket", BUCKET)
DOWN = ("emr-down", "--account", "--bucket", BUCKET)
OPEN = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
THEIRS = [
    {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 9}},
    {"ID": "cold", "Status": "Disabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3000}},
]


def s3():
    return boto3.client("s3", region_name=REGION)


def rules():
    return {rule["ID"]: rule for rule in s3().get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]}


def state():
    """All of a bucket that emr-setup could change."""
    client = s3()

    def answer(operation):
        try:
            found = getattr(client, operation)(Bucket=BUCKET)
        except client.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return {key: value for key, value in found.items() if key != "ResponseMetadata"}

    listed = client.list_object_versions(Bucket=BUCKET)
    return {
        "objects": sorted(each["Key"] for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, ())),
        **{
            operation: answer(operation)
            for operation in (
                "get_bucket_encryption",
                "get_bucket_lifecycle_configuration",
                "get_bucket_policy",
                "get_bucket_tagging",
                "get_bucket_versioning",
                "get_public_access_block",
            )
        },
    }


@pytest.fixture
def theirs(amazon):
    """A bucket that was there before, open to the public, with logs of somebody else's."""
    client = s3()
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=OPEN)
    client.delete_bucket_encryption(Bucket=BUCKET)
    client.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "team", "Value": "maps"}]})
    for name in ("logs/2019/access.log", "mine.txt"):
        client.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    return client


@pytest.mark.parametrize("rules_of_others", [[], THEIRS])
@pytest.mark.parametrize("versions", [False, True])
def test_a_bucket_that_was_there_is_given_back_as_it_was(theirs, launch, rules_of_others, versions):
    if rules_of_others:
        theirs.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules_of_others})
    if versions:
        theirs.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    before = state()
    assert launch(*SETUP)[0] == 0
    changed = {name for name, value in state().items() if value != before[name]}
    assert changed == {"objects", "get_bucket_lifecycle_configuration"}
    code, out, _ = launch(*DOWN, "--yes")
    assert code == 0
    assert f"now without our lifecycle rule: bucket {BUCKET}, which stays" in out
    assert f"now gone: the empty object s3://{BUCKET}/spark-events/" in out
    assert state() == before


def test_in_a_bucket_that_was_there_only_our_logs_expire(theirs, launch):
    theirs.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": THEIRS})
    out = launch(*SETUP)[1]
    assert set(rules()) == {"old", "cold", LOGS_RULE}
    assert [rules()[rule["ID"]] for rule in THEIRS] == THEIRS
    assert rules()[LOGS_RULE]["Filter"] == {"Prefix": "emrlab-logs/"}
    assert "now removed in time: logs in emrlab-logs/ after 30 days\n" in out
    assert launch(*SETUP)[1].splitlines()[-1] == "all is as wanted; nothing was changed"


def test_beside_rules_of_the_old_form_ours_has_it_too(theirs, launch):
    """S3 answers "Filter element can only be used in Lifecycle V2", where moto takes both."""
    old = {"ID": "old", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 9}}
    theirs.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [old]})
    launch(*SETUP)
    assert rules()["old"] == old
    assert (rules()[LOGS_RULE].get("Filter"), rules()[LOGS_RULE]["Prefix"]) == (None, "emrlab-logs/")
    assert launch(*SETUP)[1].splitlines()[-1] == "all is as wanted; nothing was changed"


def test_a_public_bucket_of_a_users_own_is_named_and_left_open(theirs, launch):
    for _ in range(2):
        (line,) = [line for line in launch(*SETUP)[1].splitlines() if line.startswith("left as it is")]
        assert f"bucket {BUCKET}, which was there before, may be opened to the public" in line
        assert f"aws s3api put-public-access-block --bucket {BUCKET}" in line


def test_what_a_former_emrlab_set_on_logs_of_others_is_taken_back(theirs, launch):
    former = [
        {"ID": LOGS_RULE, "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}},
        {
            "ID": UPLOADS_RULE,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        },
    ]
    theirs.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [*THEIRS, *former]})
    launch(*SETUP)
    assert set(rules()) == {"old", "cold", LOGS_RULE}
    assert rules()[LOGS_RULE]["Filter"]["Prefix"] == request.LOGS


def test_an_event_log_folder_of_somebody_else_stays(theirs, launch):
    theirs.put_object(Bucket=BUCKET, Key="spark-events/", Body=b"")
    launch(*SETUP)
    assert "spark-events/" not in launch(*DOWN, "--yes")[1]
    assert "spark-events/" in state()["objects"]


def test_the_size_from_which_others_rules_hold_is_kept(stubs):
    """moto knows one value of it; AWS sets the other one's rules to the default where it is not said."""
    size = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    owner = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT}
    closed = {"PublicAccessBlockConfiguration": bucket.CLOSED}
    stubs.answer("s3", "get_bucket_location", {"LocationConstraint": REGION}, owner)
    stubs.answer("s3", "get_bucket_tagging", {"TagSet": []}, owner)
    stubs.answer("s3", "get_public_access_block", closed, owner)
    stubs.answer("s3", "get_bucket_lifecycle_configuration", {"Rules": THEIRS, **size}, owner)
    logs = {"ID": LOGS_RULE, "Status": "Enabled", "Filter": {"Prefix": request.LOGS}, "Expiration": {"Days": 30}}
    wanted = {"Rules": [*THEIRS, {**logs, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]}
    stubs.answer("s3", "put_bucket_lifecycle_configuration", {}, {**owner, "LifecycleConfiguration": wanted, **size})
    stubs.answer("s3", "head_object", {}, {**owner, "Key": "spark-events/"})
    bucket.ensure(BUCKET, REGION, ACCOUNT, Change(dry_run=False, show=print, remark=print))
    stubs.assert_all_asked()


def test_a_bucket_of_its_own_is_encrypted_closed_and_sweeps_itself(amazon, launch):
    assert launch(*SETUP)[0] == 0
    assert s3().get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == REGION
    (rule,) = s3().get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3().get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    assert rules()[LOGS_RULE]["Expiration"]["Days"] == 30
    assert rules()[LOGS_RULE]["Filter"]["Prefix"] == "emrlab-logs/"
    assert rules()[UPLOADS_RULE]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 2
    assert s3().head_object(Bucket=BUCKET, Key="spark-events/")["ContentLength"] == 0


def test_a_bucket_of_its_own_goes_with_all_versions(amazon, launch):
    launch(*SETUP)
    s3().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3().put_object(Bucket=BUCKET, Key="images/0.jpg", Body=b"x" * number)
    s3().delete_object(Bucket=BUCKET, Key="images/0.jpg")
    assert launch(*DOWN, "--yes")[0] == 0
    assert s3().list_buckets()["Buckets"] == []


def test_what_cannot_be_removed_is_said_and_the_bucket_stays(stubs):
    stubs.answer("s3", "get_bucket_location", {})
    stubs.answer("s3", "get_bucket_tagging", {"TagSet": [aws.TAG]})
    stubs.answer("s3", "list_objects_v2", {"Contents": [{"Key": "a", "Size": 1}]})
    stubs.answer("s3", "list_object_versions", {"Versions": [{"Key": "a", "VersionId": "1"}]})
    stubs.answer("s3", "list_object_versions", {})
    stubs.answer("s3", "delete_objects", {"Errors": [{"Key": "a", "Code": "AccessDenied"}]})
    with pytest.raises(aws.EmrError, match=rf"s3://{BUCKET}/a cannot be removed \(AccessDenied\); the bucket stays"):
        bucket.remove(BUCKET, REGION, ACCOUNT, Change(dry_run=False, show=print, remark=print))
    stubs.assert_all_asked()


def test_the_policies_name_the_folder_of_the_logs():
    for name in ("data", "emr/node"):
        text = (Path(__file__).parents[2] / "policies" / f"{name}.json").read_text()
        assert f"${{bucket}}/{request.LOGS}*" in text
        assert "/logs/" not in json.dumps(json.loads(text))
