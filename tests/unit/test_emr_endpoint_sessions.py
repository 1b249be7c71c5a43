"""Spark Connect sessions at the EMR lab's endpoint: what is asked, what is refused, and how each comes to its end."""

import gzip
import socket
from http.client import HTTPConnection
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

from emr_lab.endpoint import session_requests, tokens
from emr_lab.endpoint.steps import StepRunner
from tests.unit.fake_nodes import fake_lab, step, wait_until


@pytest.fixture
def fake(tmp_path, monkeypatch):
    with fake_lab(tmp_path, monkeypatch) as lab:
        yield lab


@pytest.fixture
def port(monkeypatch):
    """What answers where the first session's server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]
        monkeypatch.setattr(session_requests, "PORTS", range(number, number + 3))
        yield number


@pytest.fixture
def cluster(fake):
    started = fake.start(keep=True, SessionEnabled=True)
    fake.wait(started, "WAITING")
    return started


def session(fake, cluster, session_id):
    return fake.client.get_session(ClusterId=cluster, SessionId=session_id)["Session"]


def wait_for(fake, cluster, session_id, *states):
    """The session, as soon as it is in one of the states."""
    wait_until(
        lambda: session(fake, cluster, session_id)["State"] in states,
        lambda: str(session(fake, cluster, session_id)),
    )
    return session(fake, cluster, session_id)


def submit(fake, cluster, number=1, **request):
    """A session whose server YARN has put on a node; its id."""
    hold = fake.root / "s3" / "hold"
    hold.parent.mkdir(exist_ok=True)
    hold.touch()
    session_id = fake.client.start_session(ClusterId=cluster, **{"Name": "mine", **request})["Id"]
    fake.details[application(number)] = {"state": "RUNNING", "amHostHttpAddress": "127.0.0.1:8042"}
    fake.applications[application(number)] = session_id.lower()
    hold.unlink()
    return session_id


def application(number=1):
    return f"application_1_{number:04}"


def refusal(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]


def authorize(fake, *, token, session_id):
    """What the proxy is answered: status, server, refusal."""
    status, headers, _ = ask(fake, "authorize", {"X-Aws-Proxy-Auth": token, "Authorization": session_id})
    return status, headers.get("X-Server"), unquote(headers["X-Refusal"]) if "X-Refusal" in headers else None


def ask(fake, name, headers=None):
    """A GET of what the endpoint has for sessions: status, headers, content."""
    connection = HTTPConnection(fake.url.removeprefix("http://"))
    connection.request("GET", f"/sessions/{name}", headers=headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def test_a_session_that_comes_as_soon_as_the_cluster_is_ready_is_not_taken_for_a_lost_one(fake, port, monkeypatch):
    sent, resume = [], StepRunner.resume

    def submit_first(runner):
        sent.append(submit(fake, runner.cluster.id))
        resume(runner)

    monkeypatch.setattr(StepRunner, "resume", submit_first)
    cluster = fake.start(keep=True, SessionEnabled=True)
    wait_until(lambda: bool(sent), lambda: "no session")
    wait_for(fake, cluster, sent[0], "IDLE")


def test_a_session_starts_serves_and_is_terminated(fake, cluster, port):
    session_id = submit(fake, cluster, Tags=[{"Key": "team", "Value": "fruit"}])
    found = wait_for(fake, cluster, session_id, "IDLE")
    arn = f"arn:aws:elasticmapreduce:eu-west-3:123456789012:cluster/{cluster}/session/{session_id}"
    assert (found["Arn"], found["AccountId"]) == (arn, "123456789012")
    assert (found["Name"], found["Tags"]) == ("mine", [{"Key": "team", "Value": "fruit"}])
    assert found["StartedAt"] >= found["CreatedAt"]
    assert found["IdleSince"] >= found["StartedAt"]
    assert (found["ReleaseLabel"], found["SessionIdleTimeoutInMinutes"]) == ("emr-spark-8.1.0", 60)

    endpoint = fake.client.get_session_endpoint(ClusterId=cluster, SessionId=session_id)
    assert endpoint["Endpoint"] == "https://127.0.0.1:5443"
    assert endpoint["AuthTokenExpirationTime"].timestamp() == pytest.approx(fake.clock() + 3600, abs=60)
    assert authorize(fake, token=endpoint["AuthToken"], session_id=session_id) == (200, f"127.0.0.1:{port}", None)
    wait_for(fake, cluster, session_id, "BUSY")
    fake.clock.passed_s = 5
    wait_for(fake, cluster, session_id, "IDLE")
    fake.details[application()]["jobs"] = [{"jobId": 1}]
    assert "IdleSince" not in wait_for(fake, cluster, session_id, "BUSY")

    ended = fake.client.terminate_session(ClusterId=cluster, SessionId=session_id)
    assert (ended["ClusterId"], ended["SessionId"], ended["State"]) == (cluster, session_id, "TERMINATING")
    found = wait_for(fake, cluster, session_id, "TERMINATED")
    assert found["StateChangeReason"] == "Terminated by user request"
    assert found["EndedAt"] >= found["StartedAt"]
    assert application() in fake.killed
    status, server, why = authorize(fake, token=endpoint["AuthToken"], session_id=session_id)
    assert (status, server) == (403, None)
    assert "is TERMINATED" in why
    assert refusal(fake.client.terminate_session, ClusterId=cluster, SessionId=session_id)["Message"].endswith(
        "is TERMINATED already."
    )
    assert (
        "no endpoint" in refusal(fake.client.get_session_endpoint, ClusterId=cluster, SessionId=session_id)["Message"]
    )


def test_the_server_is_the_releases_own_with_the_sessions_settings(fake, cluster, port):
    settings = {"spark.executor.memory": "2g", "spark.sql.shuffle.partitions": "8", "spark.ui.enabled": "false"}
    configuration = [{"Classification": "spark-defaults", "Properties": settings}]
    session_id = submit(fake, cluster, Name="the\tname", EngineConfigurations=configuration)
    wait_for(fake, cluster, session_id, "IDLE")
    log = fake.root / "nodes/primary/var/log/hadoop/sessions" / session_id / "stdout"
    wait_until(lambda: log.read_text().endswith("\n"), lambda: "spark-submit's stand-in says nothing")
    stdout = log.read_text()
    for words in (
        "--master yarn --deploy-mode cluster",
        "spark.executor.memory=2g",
        "spark.sql.shuffle.partitions=8",
        f"spark.yarn.tags={session_id.lower()}",
        f"spark.connect.grpc.binding.port={port}",
        "org.apache.spark.sql.connect.service.SparkConnectServer",
        "spark.ui.enabled=true",
    ):
        assert words in stdout
    assert "spark.ui.enabled=false" not in stdout, "its pages tell whether it is busy, and so when it is idle"
    assert session(fake, cluster, session_id)["EngineConfigurations"] == configuration


def test_a_server_that_cannot_be_submitted_says_why(fake, cluster):
    (fake.root / "bin" / "spark-submit").write_text(
        "#!/bin/sh\necho 'Exception in thread \"main\" java.lang.IllegalArgumentException: too large' >&2\nexit 1\n"
    )
    session_id = fake.client.start_session(ClusterId=cluster, Name="mine")["Id"]
    found = wait_for(fake, cluster, session_id, "FAILED")
    assert found["StateChangeReason"] == (
        "The server could not be submitted: java.lang.IllegalArgumentException: too large"
    )


def test_a_session_waits_for_yarns_room_and_is_given_up_after_a_quarter_of_an_hour(fake, cluster):
    session_id = submit(fake, cluster)
    waiting = {"state": "ACCEPTED", "diagnostics": "Queue's AM resource limit exceeded."}
    fake.details[application()] = waiting
    found = wait_for(fake, cluster, session_id, "SUBMITTED")
    wait_until(
        lambda: "AM resource limit" in session(fake, cluster, session_id)["StateChangeReason"], lambda: str(found)
    )
    assert (
        "no endpoint now"
        in refusal(fake.client.get_session_endpoint, ClusterId=cluster, SessionId=session_id)["Message"]
    )
    fake.clock.passed_s = 901
    found = wait_for(fake, cluster, session_id, "FAILED")
    assert found["StateChangeReason"].startswith("Not started after 900 s.")
    assert application() in fake.killed


def test_a_session_whose_spark_submit_hangs_is_given_up_as_well(fake, cluster):
    (fake.root / "bin" / "spark-submit").write_text("#!/bin/sh\nexec sleep 600\n")
    session_id = fake.client.start_session(ClusterId=cluster, Name="mine")["Id"]
    fake.clock.passed_s = 901
    found = wait_for(fake, cluster, session_id, "FAILED")
    assert found["StateChangeReason"] == "Not started after 900 s. YARN: has not got it, spark-submit still runs"
    wait_until(lambda: fake.controllers["primary"].state()["processes"] == 0, lambda: "it still runs")


def test_a_server_that_dies_fails_its_session_and_the_others_go_on(fake, cluster, port):
    first = submit(fake, cluster)
    second = submit(fake, cluster, number=2)
    wait_for(fake, cluster, first, "IDLE")
    wait_for(fake, cluster, second, "STARTING")  # nothing listens at its port
    token = fake.client.get_session_endpoint(ClusterId=cluster, SessionId=first)["AuthToken"]
    fake.details[application()].update(state="FAILED", diagnostics="Container killed on request.\nExit code is 137")
    found = wait_for(fake, cluster, first, "FAILED")
    assert found["StateChangeReason"] == (
        "The Spark Connect server ended, in YARN FAILED: Container killed on request. Exit code is 137"
    )
    status, _, why = authorize(fake, token=token, session_id=first)
    assert status == 403
    assert "Exit code is 137" in why
    assert session(fake, cluster, second)["State"] == "STARTING"


def test_an_idle_session_ends_after_its_time(fake, cluster, port):
    session_id = submit(fake, cluster, SessionIdleTimeoutInMinutes=2)
    wait_for(fake, cluster, session_id, "IDLE")
    fake.clock.passed_s = 100
    assert session(fake, cluster, session_id)["State"] == "IDLE"
    fake.clock.passed_s = 125
    found = wait_for(fake, cluster, session_id, "TERMINATED")
    assert found["StateChangeReason"] == "Idle for 2 minutes, its idle timeout"
    assert application() in fake.killed


def test_sessions_end_with_their_cluster(fake, cluster, port):
    serving, waiting = submit(fake, cluster), submit(fake, cluster, number=2)
    wait_for(fake, cluster, serving, "IDLE")
    fake.client.terminate_job_flows(JobFlowIds=[cluster])
    fake.wait(cluster, "TERMINATED")
    for each in (serving, waiting):
        found = session(fake, cluster, each)
        assert found["State"] == "TERMINATED"
        assert found["StateChangeReason"] == f"Cluster {cluster} ended: Terminated by user request"
    assert fake.applications == {}


def test_a_restart_of_the_endpoint_leaves_a_session_and_its_token_as_they_are(fake, cluster, port):
    session_id = submit(fake, cluster)
    wait_for(fake, cluster, session_id, "IDLE")
    token = fake.client.get_session_endpoint(ClusterId=cluster, SessionId=session_id)["AuthToken"]
    fake.restart()
    assert authorize(fake, token=token, session_id=session_id)[0] == 200
    wait_for(fake, cluster, session_id, "IDLE")
    fake.client.terminate_session(ClusterId=cluster, SessionId=session_id)
    wait_for(fake, cluster, session_id, "TERMINATED")


def test_a_session_that_the_endpoint_did_not_get_to_submit_fails(fake, cluster):
    fake.stop()  # its thread too: nobody submits
    with fake.endpoint_state.change():
        found = session_requests.session(
            {"ClusterId": cluster, "Name": "mine"},
            fake.endpoint_state.store.clusters[cluster],
            now_s=fake.clock(),
        )
        fake.endpoint_state.store.clusters[cluster].sessions.append(found)
    fake.endpoint_state = fake.make()
    fake.serve()
    assert "restarted" in wait_for(fake, cluster, found.id, "FAILED")["StateChangeReason"]


def test_what_reaches_yarn_after_its_session_was_given_up_is_ended(fake, cluster, port):
    session_id = submit(fake, cluster)
    wait_for(fake, cluster, session_id, "IDLE")
    fake.client.terminate_session(ClusterId=cluster, SessionId=session_id)
    wait_for(fake, cluster, session_id, "TERMINATED")
    fake.applications[application(9)] = session_id.lower()
    wait_until(lambda: application(9) in fake.killed, lambda: str(fake.applications))


def test_a_token_opens_its_own_session_for_an_hour(fake, cluster, port):
    session_id, other = submit(fake, cluster), submit(fake, cluster, number=2)
    wait_for(fake, cluster, session_id, "IDLE")
    token = fake.client.get_session_endpoint(ClusterId=cluster, SessionId=session_id)["AuthToken"]
    assert "=" not in token
    for wrong, named in (
        ("", session_id),
        ("x", session_id),
        ("ä".encode().decode("latin-1"), session_id),
        (token[:-1], session_id),
        (token, other),
        (token, ""),
        (tokens.issue(tokens.key("another lab"), session_id, now_s=fake.clock()).text, session_id),
    ):
        status, server, why = authorize(fake, token=wrong, session_id=named)
        assert (status, server) == (401, None)
        assert token not in why
    fake.clock.passed_s = 3590
    assert authorize(fake, token=token, session_id=session_id)[0] == 200
    renewed = fake.client.get_session_endpoint(ClusterId=cluster, SessionId=session_id)["AuthToken"]
    fake.clock.passed_s = 3605
    assert authorize(fake, token=token, session_id=session_id)[0] == 401
    assert authorize(fake, token=renewed, session_id=session_id)[0] == 200
    assert token not in (fake.root / "state.json").read_text()


def test_s3_gets_the_logs_that_are_asked_for(fake, cluster, port):
    monitoring = {
        "S3LoggingConfiguration": {
            "Enabled": True,
            "LogUri": "s3://bucket/mine/",
            "LogTypes": {"SPARK_DRIVER": ["stderr"], "SPARK_EXECUTOR": ["stdout", "stderr"]},
        }
    }
    session_id = submit(fake, cluster, MonitoringConfiguration=monitoring)
    folder = fake.root / "nodes/core-1/var/log/hadoop-yarn/containers" / application()
    for number in (1, 2):
        container = folder / f"container_1_{number:06}"
        container.mkdir(parents=True)
        for stream in ("stdout", "stderr", "prelaunch.err"):
            (container / stream).write_text(f"{number} {stream}")
    wait_for(fake, cluster, session_id, "IDLE")
    fake.client.terminate_session(ClusterId=cluster, SessionId=session_id)
    wait_for(fake, cluster, session_id, "TERMINATED")
    place = fake.root / "s3/bucket/mine" / cluster / "sessions" / session_id
    written = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.gz"))
    assert written == [
        "SPARK_DRIVER/stderr.gz",
        "SPARK_EXECUTOR/container_1_000002/stderr.gz",
        "SPARK_EXECUTOR/container_1_000002/stdout.gz",
    ]


def test_s3_gets_the_logs_of_a_driver_that_dies_before_it_serves(fake, cluster):
    monitoring = {"S3LoggingConfiguration": {"Enabled": True, "LogUri": "s3://bucket/mine/"}}
    container = fake.root / "nodes/core-1/var/log/hadoop-yarn/containers" / application() / "container_1_000001"
    container.mkdir(parents=True)
    (container / "stderr").write_text("no such package\n")
    hold = fake.root / "s3" / "hold"
    hold.parent.mkdir(exist_ok=True)
    hold.touch()
    session_id = fake.client.start_session(ClusterId=cluster, Name="mine", MonitoringConfiguration=monitoring)["Id"]
    fake.details[application()] = {"state": "FAILED", "diagnostics": "exitCode: 13"}
    fake.applications[application()] = session_id.lower()
    wait_for(fake, cluster, session_id, "FAILED")
    log = fake.root / "s3/bucket/mine" / cluster / "sessions" / session_id / "SPARK_DRIVER/stderr.gz"
    assert gzip.decompress(log.read_bytes()) == b"no such package\n"


def test_the_certificate_is_given_to_who_asks(fake):
    assert ask(fake, "ca.pem")[0] == 404
    (fake.root / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    status, _, content = ask(fake, "ca.pem")
    assert (status, content) == (200, b"-----BEGIN CERTIFICATE-----\n")


def test_steps_and_sessions_go_on_beside_each_other(fake, cluster, port):
    session_id = submit(fake, cluster)
    wait_for(fake, cluster, session_id, "IDLE")
    fake.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("beside", "exit 0")])
    fake.wait_step(cluster, "beside", "COMPLETED")
    assert session(fake, cluster, session_id)["State"] == "IDLE"
