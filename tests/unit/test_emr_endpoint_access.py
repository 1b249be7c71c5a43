"""Who may ask the EMR lab for something, and what it says to requests that no client of AWS would make."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.unit.fake_nodes import Fake, request, step

LISTING = "ElasticMapReduce.ListClusters"
JSON = "application/x-amz-json-1.1"


def signed(
    lab: Fake,
    body: Any = b"{}",
    *,
    target: str = LISTING,
    who: str = "test test",
    service: str = "elasticmapreduce",
    region: str = "eu-west-3",
    host: str = "",
    **headers: Any,
) -> dict[str, str]:
    """Headers of a request as botocore signs it; `headers` are signed too."""
    given = {"X-Amz-Target": target, "Content-Type": JSON, "Host": host or lab.url.removeprefix("http://"), **headers}
    asked = AWSRequest(method="POST", url=lab.url + "/", data=body, headers=given)
    SigV4Auth(Credentials(*who.split()), service, region).add_auth(asked)
    return dict(asked.headers.items())


def answer(
    lab: Fake, body: bytes, headers: dict[str, str], *, method: str = "POST", path: str = "/"
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer."""
    connection = HTTPConnection(lab.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body, headers)
        said = connection.getresponse()
        return said.status, json.loads(said.read())
    finally:
        connection.close()


def refused(lab: Fake, body: bytes = b"{}", *, headers: dict[str, str]) -> tuple[str, str]:
    """Code and words of a refusal as EMR refuses."""
    status, said = answer(lab, body, headers)
    assert status == 400, said
    return said["__type"], said.get("message") or said["Message"]


@pytest.fixture
def at(monkeypatch):
    """Sign as if it were so much later."""

    def shift(minutes: float) -> None:
        then = datetime.now(UTC) + timedelta(minutes=minutes)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: then.replace(tzinfo=None))

    return shift


def test_a_request_that_is_signed_with_the_labs_key_is_answered(lab: Fake):
    assert answer(lab, b"{}", signed(lab)) == (200, {"Clusters": []})
    assert answer(lab, b"{}", signed(lab, **{"User-Agent": "x", "X-Amz-Meta": "a  b"}))[0] == 200
    assert answer(lab, b"{}", signed(lab, Date=format_datetime(datetime.now(UTC))))[0] == 200


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"who": "AKIAUNKNOWN test"},
            "UnrecognizedClientException",
            "security token included in the request is invalid",
        ),
        ({"X-Amz-Security-Token": "x"}, "UnrecognizedClientException", "security token"),
        ({"who": "test other"}, "InvalidSignatureException", "does not match the signature you provided"),
        ({"service": "s3"}, "InvalidSignatureException", "correct service: 'elasticmapreduce'"),
        ({"region": "mars-north-1"}, "InvalidSignatureException", "valid region: mars-north-1"),
    ],
)
def test_a_signature_of_somebody_else_is_refused(lab: Fake, changes, code, words):
    found, said = refused(lab, headers=signed(lab, **changes))
    assert found == code
    assert words in said


def test_nothing_is_done_for_who_has_no_key(lab: Fake, monkeypatch):
    body = json.dumps(request(step("mine", "exit 0"))).encode()
    for headers in (
        {"X-Amz-Target": "ElasticMapReduce.RunJobFlow", "Content-Type": JSON},
        signed(lab, body, target="ElasticMapReduce.RunJobFlow", who="test wrong"),
    ):
        refused(lab, body, headers=headers)
    assert not lab.endpoint_state.store.clusters
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        boto3.Session().client("emr", region_name="eu-west-3").list_clusters()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        ("Basic eDp5", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=test/20261122/eu-west-3/elasticmapreduce/aws4_request", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=test, SignedHeaders=host;x-amz-target, Signature=0", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=x-amz-target, Signature=0", "InvalidSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0", "InvalidSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;x-amz-target, Signature=0", "IncompleteSignature"),
    ],
)
def test_a_header_that_is_no_signature_is_refused(lab: Fake, header, code):
    given = {"X-Amz-Target": LISTING, "Content-Type": JSON, **({"Authorization": header} if header else {})}
    assert refused(lab, headers=given)[0].startswith(code)


def test_what_was_signed_cannot_be_changed(lab: Fake):
    for changed in ({"X-Amz-Target": "ElasticMapReduce.RunJobFlow"}, {"Content-Type": "text/plain"}):
        assert refused(lab, headers=signed(lab) | changed)[0] == "InvalidSignatureException"
    assert refused(lab, b'{"Marker":"x"}', headers=signed(lab))[0] == "InvalidSignatureException"
    unsigned = signed(lab) | {"X-Amz-More": "x"}
    assert "'x-amz-more' must be a 'SignedHeader'" in refused(lab, headers=unsigned)[1]
    elsewhere = signed(lab, region="us-east-1")
    elsewhere["Authorization"] = elsewhere["Authorization"].replace("us-east-1", "eu-west-3")
    assert refused(lab, headers=elsewhere)[0] == "InvalidSignatureException"
    hash_of_another = signed(lab, **{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
    assert refused(lab, headers=hash_of_another)[0] == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("minutes", "words"), [(-16, "Signature expired: "), (16, "Signature not yet current: "), (-14, ""), (14, "")]
)
def test_a_signature_holds_for_a_quarter_of_an_hour(lab: Fake, at, minutes, words):
    at(minutes)
    headers = signed(lab)
    if words:
        code, said = refused(lab, headers=headers)
        assert (code, said[: len(words)]) == ("InvalidSignatureException", words)
    else:
        assert answer(lab, b"{}", headers)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5050", "127.0.0.1.evil.example", "", "emr.evil.example"]
)
def test_a_name_that_somebody_else_gave_to_this_address_is_refused(lab: Fake, host):
    headers = signed(lab) | {"Host": host}
    for method, body in (("GET", b""), ("POST", b"{}")):
        status, said = answer(lab, body, headers, method=method)
        assert (status, said["__type"]) == (421, "InvalidRequestException")


@pytest.mark.parametrize("host", ["127.0.0.1:5050", "localhost:5050", "LOCALHOST", "emr:5000", "[::1]:5050"])
def test_the_labs_own_names(lab: Fake, host):
    assert answer(lab, b"", {"Host": host}, method="GET")[0] == 200
    assert answer(lab, b"{}", signed(lab, host=host))[0] == 200


def test_a_web_page_is_refused(lab: Fake):
    assert answer(lab, b"{}", signed(lab) | {"Origin": "http://127.0.0.1:5050"})[0] == 403
    assert answer(lab, b"", {"Origin": "null"}, method="GET")[0] == 403
    assert answer(lab, b"", {}, method="DELETE")[0] == 405
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refused(lab, b"Action=ListClusters", headers=form)[0] == "MissingAuthenticationTokenException"


def instances(**given: Any) -> dict[str, Any]:
    return request(Instances=given)


def groups(*given: dict[str, Any]) -> dict[str, Any]:
    return instances(InstanceGroups=[{"InstanceType": "m5.xlarge", "InstanceCount": 1} | each for each in given])


def fleet(**core: Any) -> dict[str, Any]:
    kinds = [{"InstanceType": "m5.xlarge", "WeightedCapacity": core.pop("weight", 1)}]
    master = {"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": kinds[:1]}
    return instances(InstanceFleets=[master, {"InstanceFleetType": "CORE", "InstanceTypeConfigs": kinds, **core}])


MASTER, CORE = {"InstanceRole": "MASTER"}, {"InstanceRole": "CORE"}
TYPES = {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.xlarge"}
MALFORMED: dict[str, tuple[str, Any, str]] = {
    "no JSON": ("ListClusters", b"{", "SerializationException"),
    "not UTF-8": ("ListClusters", b'{"Marker":"\xff"}', "SerializationException"),
    "a list": ("ListClusters", [], "SerializationException"),
    "a text": ("ListClusters", '"x"', "SerializationException"),
    "nothing": ("DescribeCluster", b"", "ValidationException"),
    "lists in lists": ("ListClusters", b"[" * 100_000 + b"]" * 100_000, "SerializationException"),
    "configurations in configurations": (
        "RunJobFlow",
        b'{"Configurations":[' * 300 + b"{}" + b"]}" * 300,
        "ValidationException",
    ),
    "no number": (
        "PutAutoTerminationPolicy",
        b'{"ClusterId":"j-1","AutoTerminationPolicy":{"IdleTimeout":NaN}}',
        "Serial",
    ),
    "endless number": ("ListClusters", b'{"CreatedAfter":1e999}', "ValidationException"),
    "digits": ("ListClusters", b'{"CreatedAfter":' + b"9" * 5000 + b"}", "SerializationException"),
    "a time that there is not": ("ListClusters", {"CreatedAfter": 1e30}, "ValidationException"),
    "before all time": ("ListClusters", {"CreatedAfter": -1e30}, "ValidationException"),
    "yesterday": ("ListClusters", {"CreatedAfter": "yesterday"}, "ValidationException"),
    "an object as a time": ("ListClusters", {"CreatedAfter": {}}, "ValidationException"),
    "no such state": ("ListClusters", {"ClusterStates": ["EXPLODED"]}, "ValidationException"),
    "states as a text": ("ListClusters", {"ClusterStates": "RUNNING"}, "ValidationException"),
    "marker as a number": ("ListClusters", {"Marker": 7}, "ValidationException"),
    "unknown member": ("ListClusters", {"Coffee": True}, "ValidationException"),
    "null": ("DescribeCluster", {"ClusterId": None}, "ValidationException"),
    "instances as a text": ("RunJobFlow", {"Name": "x", "Instances": "many"}, "ValidationException"),
    "tags as a text": ("RunJobFlow", request() | {"Tags": "a=b"}, "ValidationException"),
    "tag without a key": ("AddTags", {"ResourceId": "j-1", "Tags": [{"Value": "x"}]}, "ValidationException"),
    "long tag": ("AddTags", {"ResourceId": "j-1", "Tags": [{"Key": "x" * 300}]}, "ValidationException"),
    "60 tags": ("RunJobFlow", request(Tags=[{"Key": f"k{number}"} for number in range(60)]), "ValidationException"),
    "half a character": ("RunJobFlow", b'{"Name":"\\ud800","Instances":{}}', "ValidationException"),
    "control character": ("RunJobFlow", request(Name="a\0b"), "ValidationException"),
    "control character in an argument": ("RunJobFlow", request(step("x", "echo \x1b")), "ValidationException"),
    "control character in a setting": (
        "RunJobFlow",
        request(Configurations=[{"Classification": "core-site", "Properties": {"a": "\x01"}}]),
        "ValidationException",
    ),
    "two lines in a setting": (
        "RunJobFlow",
        request(Configurations=[{"Classification": "spark-defaults", "Properties": {"a": "b\rspark.master local"}}]),
        "ValidationException",
    ),
    "no such role": ("RunJobFlow", groups(MASTER, {"InstanceRole": "FOO"}), "ValidationException"),
    "fewer than none": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": -3}), "ValidationException"),
    "none": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": 0}), "ValidationException"),
    "a sum of one": (
        "RunJobFlow",
        groups(MASTER, CORE | {"InstanceCount": 3}, {"InstanceRole": "TASK", "InstanceCount": -1}),
        "ValidationException",
    ),
    "a great many": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": 2**31 - 1}), "ValidationException"),
    "more than there are": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": 2**31}), "ValidationException"),
    "true nodes": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": True}), "ValidationException"),
    "half a node": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": 1.5}), "ValidationException"),
    "nodes as a text": ("RunJobFlow", groups(MASTER, CORE | {"InstanceCount": "2"}), "ValidationException"),
    "minus three of a type": ("RunJobFlow", instances(**TYPES, InstanceCount=-3), "ValidationException"),
    "weight of zero": ("RunJobFlow", fleet(TargetOnDemandCapacity=1, weight=0), "ValidationException"),
    "weight below zero": ("RunJobFlow", fleet(TargetOnDemandCapacity=1, weight=-1), "ValidationException"),
    "capacity below zero": ("RunJobFlow", fleet(TargetSpotCapacity=-2), "ValidationException"),
    "no capacity": ("RunJobFlow", fleet(TargetSpotCapacity=0), "ValidationException"),
    "no capacity at all": ("RunJobFlow", fleet(), "ValidationException"),
    "no nodes": ("RunJobFlow", groups(), "ValidationException"),
    "explosion": ("RunJobFlow", request(step("x", "exit 0", "EXPLODE")), "ValidationException"),
    "step without a jar": ("RunJobFlow", request({"Name": "x", "HadoopJarStep": {}}), "ValidationException"),
    "action without a path": ("RunJobFlow", request(BootstrapActions=[{"Name": "x"}]), "ValidationException"),
    "number of a path": (
        "RunJobFlow",
        request(BootstrapActions=[{"Name": "x", "ScriptBootstrapAction": {"Path": 7}}]),
        "ValidationException",
    ),
    "steps as an object": ("AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": {}}, "ValidationException"),
    "step of nothing": ("AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [None]}, "ValidationException"),
    "ids as a text": ("TerminateJobFlows", {"JobFlowIds": "j-1"}, "ValidationException"),
    "concurrency of a text": (
        "ModifyCluster",
        {"ClusterId": "j-1", "StepConcurrencyLevel": "2"},
        "ValidationException",
    ),
    "protected by a number": (
        "SetTerminationProtection",
        {"JobFlowIds": ["j-1"], "TerminationProtected": 1},
        "ValidationException",
    ),
    "no such cancelling": (
        "CancelSteps",
        {"ClusterId": "j-1", "StepIds": ["s-1"], "StepCancellationOption": "BEG"},
        "ValidationException",
    ),
    "coffee": ("MakeCoffee", {}, "UnknownOperationException"),
    "nothing to do": ("", {}, "UnknownOperationException"),
    "too much": ("ListClusters", b" " * (4 * 1024 * 1024 + 1), "ValidationException"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_requests_that_no_client_would_make(lab: Fake, name):
    operation, given, code = MALFORMED[name]
    if not isinstance(given, bytes):
        given = given.encode() if isinstance(given, str) else json.dumps(given).encode()
    body = given
    found, said = refused(lab, body, headers=signed(lab, body, target=f"ElasticMapReduce.{operation}"))
    assert found.startswith(code), said
    assert "\n" not in said
    assert not lab.endpoint_state.store.clusters


BROKEN = {
    "no HTTP": (b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", 400),
    "version of the future": (b"POST / HTTP/9.9\r\n\r\n", 505),
    "long header": (b"POST / HTTP/1.1\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    "a great many headers": (b"POST / HTTP/1.1\r\n" + b"X-More: x\r\n" * 300 + b"\r\n", 431),
    "body that ends early": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{}", 400),
    "chunks that are none": (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_request_is_answered_in_json(lab: Fake, name, caplog):
    sent, status = BROKEN[name]
    with socket.create_connection(("127.0.0.1", int(lab.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answered = HTTPResponse(connection)
        answered.begin()
        assert (answered.status, answered.headers["Content-Type"]) == (status, JSON)
        document = json.loads(answered.read())
    assert document["__type"] in {"SerializationException", "ValidationException"}
    assert "\n" not in document["message"]
    assert "Traceback" not in caplog.text


def test_another_protocol_is_told_so(lab: Fake):
    for headers in (
        signed(lab, target="Foo.ListClusters"),
        signed(lab, **{"Content-Type": "application/x-www-form-urlencoded"}),
    ):
        assert refused(lab, headers=headers)[0] == "UnknownOperationException"
    s3 = boto3.client("s3", endpoint_url=lab.url, config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ClientError):
        s3.list_buckets()


def test_a_text_with_action_in_it_is_a_text(lab: Fake):
    cluster = lab.start(step("x&Action=TerminateJobFlows&", "echo '&Action=ListClusters&'"))
    lab.wait(cluster, "TERMINATED")
    assert lab.steps(cluster) == {"x&Action=TerminateJobFlows&": "COMPLETED"}


def test_what_the_endpoint_did_not_expect_is_an_error_of_emrs_with_the_cause_in_its_log(lab: Fake, monkeypatch, caplog):
    monkeypatch.setattr("emr_lab.endpoint.serializers.cluster_summary", lambda _: 1 // 0)
    lab.start()
    with pytest.raises(ClientError) as failed:
        boto3.client("emr", region_name="eu-west-3", config=Config(retries={"total_max_attempts": 1})).list_clusters()
    assert failed.value.response["Error"]["Code"] == "InternalServerException"
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "ZeroDivisionError" in caplog.text
