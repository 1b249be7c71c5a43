"""The IAM policies say what the job, the laptop and the history server may; tests/lab proves that it holds."""

from fnmatch import fnmatchcase

import pytest

from base.paths import ROOT
from lab import bucket, credentials

FOLDER = ROOT / "policies"
READ = {"s3:GetObject"}
WRITE = READ | {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
OBJECTS = {
    "job": {"images/a": READ, "artifacts/a": READ, "results/a": WRITE, "spark-events/a": WRITE, "emrlab-logs/a": set()},
    "data": {"images/a": WRITE, "artifacts/a": WRITE, "results/a": READ, "spark-events/a": READ, "emrlab-logs/a": READ},
    "history": {
        "images/a": set(),
        "artifacts/a": set(),
        "results/a": set(),
        "spark-events/a": READ,
        "emrlab-logs/a": set(),
    },
}


def statements(name):
    return bucket.policy(name, bucket="b-1")["Statement"]


def allowed(name, key):
    """The actions on an object that some statement allows."""
    resource = f"arn:aws:s3:::b-1/{key}"
    return {
        action
        for statement in statements(name)
        if any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        for action in statement["Action"]
    }


def test_every_user_has_a_policy():
    assert {path.stem for path in FOLDER.glob("*.json")} >= set(credentials.USERS)
    assert set(OBJECTS) == set(credentials.USERS)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("key", OBJECTS["job"])
def test_what_may_be_done_with_objects(name, key):
    assert allowed(name, key) == OBJECTS[name][key]


@pytest.mark.parametrize("name", OBJECTS)
def test_no_other_place_is_open(name):
    for key in ("", "a", "images2/a", "resultsx", "logs/a", "secret/images/a"):
        assert allowed(name, key) == set()


@pytest.mark.parametrize("name", OBJECTS)
def test_listing_is_bound_to_the_prefixes_that_may_be_read(name):
    (listing,) = [statement for statement in statements(name) if "s3:ListBucket" in statement["Action"]]
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Resource"] == ["arn:aws:s3:::b-1"]
    prefixes = listing["Condition"]["StringLike"]["s3:prefix"]
    open_ = {key.split("/")[0] for key, actions in OBJECTS[name].items() if actions}
    assert set(prefixes) == {form for prefix in open_ for form in (prefix, f"{prefix}/*")}
    assert not any(fnmatchcase("", prefix) for prefix in prefixes), "the whole bucket cannot be listed"


@pytest.mark.parametrize("name", OBJECTS)
def test_a_document_is_what_iam_takes(name):
    document = bucket.policy(name, bucket="b-1")
    assert set(document) == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    for statement in document["Statement"]:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow"
        assert statement["Sid"].isalnum()
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])
        assert all(resource.startswith("arn:aws:s3:::b-1") for resource in statement["Resource"])
    assert "${" not in str(document)


def test_the_jobs_user_may_bring_logs_as_emrs_nodes_do_and_nothing_of_kms():
    found = bucket.granted("job", bucket="b-1")["Statement"]
    assert found[:-1] == statements("job")
    assert found[-1]["Resource"] == ["arn:aws:s3:::b-1/emrlab-logs/*"]
    assert bucket.granted("history", bucket="b-1") == bucket.policy("history", bucket="b-1")


def test_the_laptop_may_ask_for_the_bucket_in_the_lab_and_list_no_other_prefix():
    *own, more = bucket.granted("data", bucket="b-1")["Statement"]
    assert own == statements("data")
    assert (more["Action"], more["Resource"]) == (["s3:ListBucket"], ["arn:aws:s3:::b-1"])
    assert more["Condition"] == {"Null": {"s3:prefix": "true", "s3:delimiter": "true", "s3:max-keys": "true"}}
