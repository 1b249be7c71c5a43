"""What opens a session of EMR for a client on this machine, at the EMR lab's endpoint with stand-in nodes."""

import socket
import threading
from pathlib import Path

import pytest

from base import sizing
from emr_lab.endpoint import session_requests
from launch import docker_lab, session
from launch.emr import request, sessions
from launch.emr.aws import EmrError
from tests.unit.fake_nodes import fake_lab, wait_until


@pytest.fixture
def fake(tmp_path, monkeypatch):
    with fake_lab(tmp_path, monkeypatch) as lab:
        monkeypatch.setattr(docker_lab, "emr_lab_node", sizing.instance)
        monkeypatch.setattr(docker_lab, "address", lambda *_, **__: "http://127.0.0.1:5443")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        monkeypatch.setattr(sessions, "CACHE", tmp_path / "cache")
        monkeypatch.setattr(sessions, "POLL_S", 0.02)
        (tmp_path / "ca.pem").write_text("a certificate")
        hold = tmp_path / "s3" / "hold"
        hold.parent.mkdir(exist_ok=True)
        hold.touch()
        yield lab


@pytest.fixture
def cluster(fake):
    tags = [{"Key": request.WHEELHOUSE_TAG, "Value": "sha256"}]
    started = fake.start(keep=True, SessionEnabled=True, Tags=tags)
    fake.wait(started, "WAITING")
    return started


@pytest.fixture
def port(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]
        monkeypatch.setattr(session_requests, "PORTS", range(number, number + 3))
        yield number


def give_to_yarn(fake, cluster, **details):
    """Let YARN have the server of the next session."""

    def sessions_of():
        return fake.client.list_sessions(ClusterId=cluster)["Sessions"]

    def give():
        wait_until(lambda: bool(sessions_of()), lambda: "no session")
        fake.details["application_1_0001"] = {"state": "RUNNING", "amHostHttpAddress": "127.0.0.1:8042", **details}
        fake.applications["application_1_0001"] = sessions_of()[0]["Id"].lower()
        (fake.root / "s3" / "hold").unlink()

    thread = threading.Thread(target=give)
    thread.start()
    return thread


def test_a_session_opens_on_the_cluster_that_has_them_and_ends_with_its_use(fake, cluster, port, capfd):
    giving = give_to_yarn(fake, cluster)
    with session.started("emr-lab", conf_overrides={"spark.executor.cores": "2"}) as opened:
        giving.join()
        assert opened.is_open()
        assert (opened.python, opened.environment["EMRLAB_PYTHON"], opened.slots) == ("3.11", "3.11", 8)
        (found,) = fake.client.list_sessions(ClusterId=cluster)["Sessions"]
        address, _, authorization = opened.environment["SPARK_REMOTE"].rpartition(";")
        assert address.startswith("sc://127.0.0.1:5443/;use_ssl=true;x-aws-proxy-auth=")
        assert authorization == f"authorization={found['Id']}"
        assert Path(opened.environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]).read_text() == "a certificate"
        token = address.rpartition("=")[2]
        assert not any(token in said for said in capfd.readouterr())
        settings = found["EngineConfigurations"][0]["Properties"]
        assert settings["spark.executor.cores"] == "2"
        assert settings["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] == "/opt/emrlab/bin/python"
    (found,) = fake.client.list_sessions(ClusterId=cluster)["Sessions"]
    assert found["State"] in {"TERMINATING", "TERMINATED"}
    assert not opened.is_open()


def test_a_session_that_does_not_start_says_why_and_leaves_nothing(fake, cluster, port):
    giving = give_to_yarn(fake, cluster, state="FAILED", diagnostics="too little memory")
    with (
        pytest.raises(EmrError, match=r"is FAILED: .*too little memory"),
        sessions.in_emr_lab(conf_overrides={}, show=print),
    ):
        pass
    giving.join()
    wait_until(lambda: not fake.client.list_sessions(ClusterId=cluster, SessionStates=["IDLE"])["Sessions"], str)


def test_what_the_endpoint_refuses_is_told_in_one_line(fake, monkeypatch):
    monkeypatch.setattr(sessions, "_start", lambda emr, *_: emr.run_job_flow(Name="x", Instances={}))
    with pytest.raises(EmrError) as caught, sessions.in_emr_lab(conf_overrides={}, show=print):
        pass
    assert "release label" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["m5.xlarge", "r5.2xlarge", "c5.xlarge"])
def test_the_executors_leave_room_for_the_driver(name):
    node = sizing.instance(name)
    settings = sessions.engine_settings(node, region="eu-west-3")
    heap, overhead = (
        sizing.memory_mb(settings[key]) for key in ("spark.executor.memory", "spark.executor.memoryOverhead")
    )
    assert heap + overhead + sessions.DRIVER_MB <= node.yarn_mb
