"""Security configurations: what is taken, kept and refused, and the runtime roles that they give to steps."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from launch.emr import account, aws
from launch.emr.request import security_configuration
from tests.unit.fake_nodes import REGION, Fake, step

KEY = "arn:aws:kms:eu-west-3:123456789012:key/12345678-1234-1234-1234-123456789012"
ROLE = "arn:aws:iam::123456789012:role/step"
RUNTIME_ROLES = {"AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}}}
TAKEN: dict[str, dict[str, Any]] = {
    "this project's": security_configuration(None),
    "this project's with a key": security_configuration(KEY),
    "in transit": {
        "EncryptionConfiguration": {
            "EnableInTransitEncryption": True,
            "EnableAtRestEncryption": False,
            "InTransitEncryptionConfiguration": {
                "TLSCertificateConfiguration": {"CertificateProviderType": "PEM", "S3Object": "s3://bucket/certs.zip"}
            },
        }
    },
    "flags as texts": {
        "EncryptionConfiguration": {"EnableInTransitEncryption": "false", "EnableAtRestEncryption": "false"}
    },
    "runtime roles and Lake Formation": {
        "AuthorizationConfiguration": {
            "IAMConfiguration": {
                "EnableApplicationScopedIAMRole": True,
                "ApplicationScopedIAMRoleConfiguration": {"PropagateSourceIdentity": True},
            },
            "LakeFormationConfiguration": {"AuthorizedSessionTagValue": "Amazon EMR"},
        }
    },
    "roles of EMRFS": {
        "AuthorizationConfiguration": {
            "EmrFsConfiguration": {
                "RoleMappings": [{"Role": ROLE, "IdentifierType": "Prefix", "Identifiers": ["s3://bucket/"]}]
            }
        }
    },
    "Kerberos": {
        "AuthenticationConfiguration": {
            "KerberosConfiguration": {
                "Provider": "ClusterDedicatedKdc",
                "ClusterDedicatedKdcConfiguration": {"TicketLifetimeInHours": 24},
            }
        }
    },
}


def at_rest(**parts: Any) -> dict[str, Any]:
    return {"EncryptionConfiguration": {"EnableAtRestEncryption": True, "AtRestEncryptionConfiguration": parts}}


def metadata(**parts: Any) -> dict[str, Any]:
    return {"InstanceMetadataServiceConfiguration": parts}


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "it is no JSON"),
    "nested beyond measure": ("[" * 100_000, "it is no JSON"),
    "a list": ([], "object must be an object"),
    "unknown part": ({"Coffee": {}}, "object has invalid properties: [Coffee]"),
    "two lines": ({"a\nb": {}}, "object has invalid properties: [a b]"),
    "provider by an old name": (
        at_rest(LocalDiskEncryptionKeyProvider={"Type": "AwsKms"}),
        "AtRestEncryptionConfiguration has invalid properties: [LocalDiskEncryptionKeyProvider]",
    ),
    "at rest without how": (
        {"EncryptionConfiguration": {"EnableAtRestEncryption": "true"}},
        "EncryptionConfiguration must have AtRestEncryptionConfiguration beside EnableAtRestEncryption true",
    ),
    "mode": (at_rest(S3EncryptionConfiguration={"EncryptionMode": "ROT13"}), "EncryptionMode must be one of SSE-S3,"),
    "no mode": (at_rest(S3EncryptionConfiguration={}), "S3EncryptionConfiguration must have EncryptionMode."),
    "no key": (
        at_rest(S3EncryptionConfiguration={"EncryptionMode": "SSE-KMS"}),
        "S3EncryptionConfiguration must have AwsKmsKey beside EncryptionMode SSE-KMS",
    ),
    "flag": (
        {"EncryptionConfiguration": {"EnableAtRestEncryption": 1}},
        "EnableAtRestEncryption must be true or false",
    ),
    "an object as a list": (
        {"AuthorizationConfiguration": {"EmrFsConfiguration": {"RoleMappings": {}}}},
        "RoleMappings must be a list",
    ),
    "mapping of nobody": (
        {"AuthorizationConfiguration": {"EmrFsConfiguration": {"RoleMappings": [{"Role": ROLE}]}}},
        "RoleMappings must have IdentifierType",
    ),
    "version": (
        metadata(MinimumInstanceMetadataServiceVersion=3, HttpPutResponseHopLimit=1),
        "MinimumInstanceMetadataServiceVersion must be a whole number from 1 to 2",
    ),
    "hops": (
        metadata(MinimumInstanceMetadataServiceVersion=2, HttpPutResponseHopLimit=65),
        "HttpPutResponseHopLimit must be a whole number from 1 to 64",
    ),
    "half of it": (metadata(MinimumInstanceMetadataServiceVersion=2), "must have HttpPutResponseHopLimit"),
}


def create(lab: Fake, name: str, content: Any) -> dict[str, Any]:
    text = content if isinstance(content, str) else json.dumps(content)
    return dict(lab.client.create_security_configuration(Name=name, SecurityConfiguration=text))


def test_they_are_kept_by_their_names_until_they_are_deleted(lab: Fake):
    for name, content in TAKEN.items():
        assert create(lab, name, content)["Name"] == name
    lab.restart()
    for name, content in TAKEN.items():
        found = lab.client.describe_security_configuration(Name=name)
        assert json.loads(found["SecurityConfiguration"]) == content
    listed = lab.client.list_security_configurations()["SecurityConfigurations"]
    assert [each["Name"] for each in listed] == list(TAKEN)
    assert all(each["CreationDateTime"] for each in listed)
    for name in TAKEN:
        lab.client.delete_security_configuration(Name=name)
    assert lab.client.list_security_configurations()["SecurityConfigurations"] == []


def test_pages(lab: Fake):
    for number in range(51):
        create(lab, f"name {number}", {})
    pages = list(lab.client.get_paginator("list_security_configurations").paginate())
    assert [len(page["SecurityConfigurations"]) for page in pages] == [50, 1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_of_the_documented_shape_is_refused(lab: Fake, name):
    content, words = REFUSED[name]
    with pytest.raises(lab.client.exceptions.InvalidRequestException) as refused:
        create(lab, "wrong", content)
    message = refused.value.response["Error"]["Message"]
    assert message.startswith("Invalid security configuration; ")
    assert words in message
    assert "\n" not in message
    assert lab.client.list_security_configurations()["SecurityConfigurations"] == []


def test_a_name_is_one_configurations_in_its_region(lab: Fake):
    create(lab, "mine", {})
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="with name 'mine' already exists"):
        create(lab, "mine", {})
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="must not be empty"):
        create(lab, " ", {})
    elsewhere = boto3.client("emr", region_name="us-east-1")
    for call in (elsewhere.describe_security_configuration, elsewhere.delete_security_configuration):
        with pytest.raises(elsewhere.exceptions.InvalidRequestException, match="with name 'mine' does not exist"):
            call(Name="mine")


def test_a_cluster_names_one_that_there_is(lab: Fake):
    with pytest.raises(
        ClientError, match=r"ValidationException.*Security configuration with name 'mine' does not exist"
    ):
        lab.start(SecurityConfiguration="mine")
    create(lab, "mine", TAKEN["in transit"])
    cluster = lab.start(SecurityConfiguration="mine", keep=True)
    assert lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["SecurityConfiguration"] == "mine"


def test_a_cluster_with_kerberos_is_not_there(lab: Fake):
    create(lab, "kerberos", TAKEN["Kerberos"])
    with pytest.raises(ClientError, match=r"NotImplemented.*'kerberos' asks for Kerberos"):
        lab.start(SecurityConfiguration="kerberos")


def test_runtime_roles_are_recorded(lab: Fake):
    create(lab, "roles", RUNTIME_ROLES)
    cluster = lab.start(SecurityConfiguration="roles", keep=True)
    lab.client.delete_security_configuration(Name="roles")  # the cluster keeps what it asked for
    steps = {"JobFlowId": cluster, "Steps": [step("one", "exit 0")]}
    with pytest.raises(ClientError, match=r"ValidationException.*Runtime roles are required for this cluster"):
        lab.client.add_job_flow_steps(**steps)
    for wrong in ("arn:aws:iam::1:role/step", "arn:aws:iam::123456789012:user/step", f"{ROLE} or another"):
        with pytest.raises(
            ClientError, match=r"ValidationException.*The ExecutionRoleArn arn:aws:iam::.* is not valid"
        ):
            lab.client.add_job_flow_steps(**steps, ExecutionRoleArn=wrong)
    lab.client.add_job_flow_steps(**steps, ExecutionRoleArn=ROLE)
    lab.restart()
    assert lab.step(cluster, "one")["ExecutionRoleArn"] == ROLE


def test_a_cluster_without_runtime_roles_takes_none(lab: Fake):
    cluster = lab.start(keep=True)
    with pytest.raises(ClientError, match=r"ValidationException.*Runtime roles are not supported on this cluster"):
        lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("one", "exit 0")], ExecutionRoleArn=ROLE)
    assert lab.steps(cluster) == {}


def test_what_an_endpoint_wrote_that_had_none_is_read(lab: Fake):
    cluster = lab.start(keep=True)
    path = lab.endpoint_state.store.path

    def forget() -> None:
        path.write_text(json.dumps({"clusters": json.loads(path.read_text())["clusters"]}))

    lab.wait(cluster, "WAITING")
    lab.restart(forget)
    assert lab.state(cluster) == "WAITING"


def test_a_run_makes_the_one_that_it_asks_for_once(lab: Fake, monkeypatch):
    monkeypatch.setattr(aws, "client", lambda service, region: boto3.client(service, region_name=region))
    for _ in range(2):
        account.ensure_in_emr_lab(REGION)
    found = lab.client.describe_security_configuration(Name=aws.SECURITY_CONFIGURATION)
    assert json.loads(found["SecurityConfiguration"]) == security_configuration(None)
    lab.start(SecurityConfiguration=aws.SECURITY_CONFIGURATION)
