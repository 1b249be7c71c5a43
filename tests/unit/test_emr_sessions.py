"""What opens a session of EMR for a client on this machine, at the EMR lab's endpoint with stand-in nodes."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from base import releases, sizing
from launch import docker_lab, session
from launch.emr import request, sessions
from launch.emr.aws import EmrError
from launch.emr.request import Cluster
from launch.emr.run_spec import SessionSpec
from tests.unit.fake_nodes import LABEL, REGION, fake_lab, serve_sessions, wait_until


@pytest.fixture
def fake(tmp_path, monkeypatch):
    with fake_lab(tmp_path, monkeypatch) as lab:
        monkeypatch.setattr(docker_lab, "address", lambda *_, **__: "http://127.0.0.1:5443")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        monkeypatch.setattr(sessions, "CACHE", tmp_path / "cache")
        monkeypatch.setattr(sessions, "INTERVAL_S", (0.02, 0.02))
        (tmp_path / "ca.pem").write_text("a certificate")
        yield lab


def spec(**conf_overrides):
    cluster = Cluster(bucket="emrlab", region=REGION, release=LABEL, keep=True, node=sizing.instance("m5.xlarge"))
    return SessionSpec(
        cluster=cluster,
        release=releases.find(LABEL),
        cluster_id=None,
        in_emr_lab=True,
        conf_overrides=conf_overrides,
        max_usd=5.0,
        lifetime_s=3600,
    )


def opened(**conf_overrides):
    return sessions.opened(spec(**conf_overrides), show=print)


@pytest.fixture
def cluster(fake):
    tags = [{"Key": request.WHEELHOUSE_TAG, "Value": "sha256"}]
    started = fake.start(keep=True, SessionEnabled=True, Tags=tags)
    fake.wait(started, "WAITING")
    return started


def test_a_session_opens_on_the_cluster_that_has_them_and_ends_with_its_use(fake, cluster, monkeypatch, capfd):
    asked = spec(**{"spark.executor.cores": "2"})
    with (
        serve_sessions(fake, monkeypatch),
        session.started("emr-lab", conf_overrides={}, spec=asked) as opened,
    ):
        assert opened.is_open()
        assert (opened.python, opened.environment["EMRLAB_PYTHON"], opened.slots) == ("3.11", "3.11", 8)
        assert opened.spark == releases.find().spark
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
        assert (opened.environment["EMRLAB_CLUSTER"], opened.environment["EMRLAB_REGION"]) == (cluster, REGION)
        assert found["SessionIdleTimeoutInMinutes"] == 60
    (found,) = fake.client.list_sessions(ClusterId=cluster)["Sessions"]
    assert found["State"] in {"TERMINATING", "TERMINATED"}
    assert not opened.is_open()
    assert fake.state(cluster) == "WAITING", "the next session need not wait for one"


def test_a_session_that_does_not_start_says_why_and_leaves_nothing(fake, cluster, monkeypatch):
    with (
        serve_sessions(fake, monkeypatch, state="FAILED", diagnostics="too little memory"),
        pytest.raises(EmrError, match=r"is FAILED: .*too little memory"),
        opened(),
    ):
        pass
    wait_until(lambda: not fake.client.list_sessions(ClusterId=cluster, SessionStates=["IDLE"])["Sessions"], str)


def test_what_the_endpoint_refuses_is_told_in_one_line(fake, monkeypatch):
    monkeypatch.setattr(sessions, "_start", lambda _, clients, **__: clients.emr.run_job_flow(Name="x", Instances={}))
    with pytest.raises(EmrError) as caught, opened():
        pass
    assert "release label" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServerException", 500)])
def test_a_look_that_gets_no_answer_ends_no_session(code, status):
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetSession")

    class Emr:
        def get_session(self, **_):
            raise error

    assert sessions._is_open(Emr(), "j-1", "is-1", show=print)


@pytest.mark.parametrize("name", ["m5.xlarge", "r5.2xlarge", "c5.xlarge"])
def test_the_executors_leave_room_for_the_driver(name):
    node = sizing.instance(name)
    settings = sessions.engine_settings(node, region="eu-west-3")
    heap, overhead = (
        sizing.memory_mb(settings[key]) for key in ("spark.executor.memory", "spark.executor.memoryOverhead")
    )
    assert heap + overhead + sessions.DRIVER_MB <= node.yarn_mb
