"""A node's key, where AWS's own clients look for it."""

import json
import os
import threading
from http.client import HTTPConnection

import pytest
from botocore.session import Session

from emr_lab.node import metadata
from emr_lab.protocol import api
from tests.unit.bare_node import KEY, http

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def service(node):
    """The metadata service's port."""
    serving = metadata.server(lambda: api.read_key(node.credentials), lambda: node.interruption_s, port=0)
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


def test_the_notice_is_where_ec2_has_it(service, client, node):
    connection = HTTPConnection("127.0.0.1", service, timeout=30)
    connection.request("PUT", "/latest/api/token")
    headers = {"X-Aws-Ec2-Metadata-Token": connection.getresponse().read().decode()}

    def told(path):
        return http(service, f"/latest/meta-data/spot{path}", headers=headers)

    assert told("/instance-action") == (404, b"")
    client.reset()
    assert client.ask("/interruption", {"time_s": 1505722920}) == {}
    status, content = told("/instance-action")
    assert (status, json.loads(content)) == (200, {"action": "terminate", "time": "2017-09-18T08:22:00Z"})
    assert told("/termination-time") == (200, b"2017-09-18T08:22:00Z")
    assert told("/") == (200, b"instance-action\ntermination-time")
    client.reset()
    assert told("/instance-action") == (404, b"")
    for wrong in (None, "soon", -1, 1e300):
        assert client.refused("/interruption", {"time_s": wrong})[0] == 400
