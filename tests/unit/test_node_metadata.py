"""A node's key, where AWS's own clients look for it."""

import os
import threading

import pytest
from botocore.session import Session

from emr_lab.node import metadata
from emr_lab.protocol import api
from tests.unit.bare_node import KEY, http

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def service(node):
    """The metadata service's port."""
    serving = metadata.server(lambda: api.read_key(node.credentials), port=0)
    threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
    yield serving.server_port
    serving.shutdown()
    serving.server_close()


def test_awss_own_client_finds_the_nodes_key_by_the_metadata_service(service, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{service}")
    found = Session().get_credentials()
    assert (found.access_key, found.secret_key) == tuple(KEY.values())
    assert not found.token


def test_the_metadata_service_is_version_2_alone(service):
    for headers in ({}, {"X-Aws-Ec2-Metadata-Token": "guessed"}):
        assert http(service, "/latest/meta-data/iam/security-credentials/", headers=headers) == (401, b"")
