"""The rights in the documents are those that the calls need, as recorded at moto: none missing, none to spare."""

from launch.emr import aws, policies
from tests.emr.conftest import ACCOUNT, BUCKET
from tests.emr.machinery import Machinery, moto_clusters


def allowed(*names):
    values = {"account": ACCOUNT, "bucket": BUCKET, "key": "arn:aws:kms:eu-west-3:1:key/k"}
    statements = [each for name in names for each in policies.document(name, **values)["Statement"]]
    assert all(each["Effect"] == "Allow" for each in statements)
    return {action for each in statements for action in each["Action"]}


def test_setup_and_removal_use_every_right_of_their_document_and_no_other(amazon, launch, called):
    budget = ("--budget-usd", "20", "--email", "me@example.org")
    assert launch("emr-setup", "--bucket", BUCKET, *budget)[0] == 0
    drifted = policies.document("emr/node-trust")
    aws.client("iam", "eu-west-3").update_assume_role_policy(
        RoleName="emrlab-service", PolicyDocument=str(drifted).replace("'", '"')
    )
    assert launch("emr-setup", "--bucket", BUCKET)[0] == 0
    assert launch("emr-down", "--account", "--bucket", BUCKET, "--yes")[0] == 0
    needed = {action for action in called if action != "elasticmapreduce:ListClusters"}  # a right of the caller
    assert needed == allowed("emr/setup")


def test_no_right_is_for_everything():
    for name in ("emr/caller", "emr/setup", "emr/node", "emr/service", "data", "job"):
        assert not {action for action in allowed(name) if "*" in action}


def test_a_run_and_what_looks_after_it_need_the_callers_rights_and_no_other(ready, launch, run_args, called):
    with Machinery():
        assert launch(*run_args, "--keep")[0] == 0
        (cluster,) = moto_clusters()
        assert launch(*run_args, "--cluster", cluster)[0] == 0
        assert launch("emr-status")[0] == 0
        assert launch("emr-logs")[0] == 0
        assert launch("emr-stop")[0] == 0
        assert launch("emr-down")[0] == 0
    assert called <= allowed("emr/caller", "data")
    # Rights that a call needs besides its own, and calls that this run had no cause for.
    besides = {"iam:PassRole", "elasticmapreduce:AddTags", "elasticmapreduce:PutAutoTerminationPolicy"}
    unused = {"elasticmapreduce:CancelSteps", "elasticmapreduce:ListInstances", "pricing:GetProducts"}
    assert allowed("emr/caller") - called == besides | unused
