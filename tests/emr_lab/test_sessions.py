"""Spark Connect sessions of the EMR lab: real servers in YARN, asked by Spark's own client through the proxy."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from base import releases, sizing
from base.paths import SAMPLE
from emr_lab.endpoint import tokens
from launch import __main__ as cli
from launch import connect_client, options
from launch.emr import session_plan, sessions
from launch.notebook import environment
from tests import notebook_page
from tests.emr_lab.conftest import LABEL, compose, launch, wait_for

pytestmark = pytest.mark.skipif(not LABEL.startswith("emr-spark-"), reason="EMR has sessions since emr-spark-8.0.0")
SCRIPT = Path(__file__).with_name("connect_queries.py")
# The processes of an application have its id in their command lines.
KILL = 'for each in /proc/[0-9]*; do grep -qs "$1" "$each/cmdline" && kill -KILL "${each#/proc/}"; done; true'
RUNS = 'for each in /proc/[0-9]*; do [ "${each#/proc/}" = $$ ] || grep -ls "$1" "$each/cmdline"; done; true'
SMALL = {"spark.executor.cores": "1", "spark.executor.memory": "1g", "spark.executor.memoryOverhead": "512m"}
CONFS = [word for key, value in SMALL.items() for word in ("--conf", f"{key}={value}")]


@pytest.fixture(scope="module")
def python():
    """A Python of the nodes' minor version with the release's own client of Spark Connect."""
    release = releases.find(LABEL)
    return environment(release.python, spark=release.spark)


def aws_variables(emr_lab):
    """By which a client reaches the lab's S3 and its endpoint."""
    return {**emr_lab.environment, "AWS_ENDPOINT_URL_EMR": f"http://{compose('port', 'emr', '5000').strip()}"}


@pytest.fixture(scope="module")
def opened(emr_lab):
    """A session as `make session` opens it, on a cluster with the job's packages."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_variables(emr_lab).items():
            patch.setenv(name, value)
        spec = session_plan.agreed(options.parse(cli._parser("test"), ["session", "--target", "emr-lab", *CONFS]))
        with sessions.opened(spec, show=print) as session:
            assert session.is_open()
            yield session


@pytest.fixture(scope="module")
def cluster(emr_lab, opened):
    (found,) = emr_lab.emr.list_clusters(ClusterStates=["WAITING"])["Clusters"]
    yield found["Id"]
    emr_lab.emr.terminate_job_flows(JobFlowIds=[found["Id"]])
    emr_lab.wait(found["Id"], "TERMINATED", "TERMINATED_WITH_ERRORS")  # the last test takes a node from it
    assert all(
        each["State"] in {"TERMINATED", "FAILED"}
        for each in emr_lab.emr.list_sessions(ClusterId=found["Id"])["Sessions"]
    )


@pytest.fixture
def ask(python, opened):
    """Runs connect_queries.py; what it says, by name."""

    def run(what, **variables):
        own = {**opened.environment, "URL": "", **variables}
        ran = subprocess.run(
            [python, SCRIPT, what],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        return {name: value for line in ran.stdout.splitlines() for name, value in json.loads(line).items()}

    return run


@contextmanager
def asking(python, variables):
    """A client whose query does not end by itself."""
    client = subprocess.Popen(
        [python, SCRIPT, "outlive"], env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
    )
    try:
        yield client
    finally:
        client.kill()


def error_of(client):
    """What the query ended with: an error, whatever the transport makes of it."""
    said = client.communicate(timeout=240)[0]
    return json.loads(said.splitlines()[-1])["lost"]


def session(emr_lab, cluster, session_id):
    return emr_lab.emr.get_session(ClusterId=cluster, SessionId=session_id)["Session"]


def wait_session(emr_lab, cluster, session_id, *states):
    return wait_for(lambda: session(emr_lab, cluster, session_id), lambda found: found["State"] in states)


def start(emr_lab, cluster, **request):
    """A session that waits for queries; its id."""
    settings = {**sessions.engine_settings(sizing.instance("m5.xlarge"), region="eu-west-3"), **SMALL}
    configurations = [{"Classification": "spark-defaults", "Properties": settings}]
    started = emr_lab.emr.start_session(ClusterId=cluster, Name="test", EngineConfigurations=configurations, **request)
    found = wait_session(emr_lab, cluster, started["Id"], "IDLE", "FAILED")
    assert found["State"] == "IDLE", found
    return started["Id"]


def url(emr_lab, cluster, session_id, *, named=None):
    token = emr_lab.emr.get_session_endpoint(ClusterId=cluster, SessionId=session_id)["AuthToken"]
    host = compose("port", "sessions", "8443").strip()
    return sessions.url(host, token=token, session_id=named or session_id)


def applications(*tags):
    """The ids of what YARN runs, or of what of it has the tags."""
    options = ["-appTags", ",".join(tags)] if tags else []
    listed = compose("exec", "-T", "primary", "yarn", "application", "-list", *options)
    return re.findall(r"^application_\d+_\d+", listed, re.MULTILINE)


def test_the_notebook_comes_to_the_same_as_the_step(emr_lab, emr_lab_output, keras_file, tmp_path):
    page = tmp_path / "page.html"
    said = launch("notebook", "emr-lab", tmp_path / "out", keras_file, "--html", str(page))
    assert "price       nothing, the EMR lab is free; on AWS $0." in said
    listed = len(list(SAMPLE.rglob("*.jpg")))
    notebook_page.check(page, emr_lab_output, listed=listed, rejected=0, secrets=emr_lab.keys.values())
    (cluster,) = emr_lab.emr.list_clusters(ClusterStates=["WAITING"])["Clusters"]  # the sessions below find it
    sessions_of_it = emr_lab.emr.list_sessions(ClusterId=cluster["Id"])["Sessions"]
    assert [each["State"] for each in sessions_of_it if each["State"] not in {"TERMINATING", "TERMINATED"}] == []
    assert f"session {sessions_of_it[0]['Id']} is terminated" in said


def test_yarn_holds_a_session_to_its_time_and_its_client_renews_the_token(emr_lab, cluster, opened, ask, tmp_path):
    session_id = opened.environment["SPARK_REMOTE"].rpartition("=")[2]
    (application,) = applications(session_id.lower())
    status = compose("exec", "-T", "primary", "yarn", "application", "-status", application)
    left = re.search(r"TimeoutType : LIFETIME\s+ExpiryTime : \S+\s+RemainingTime : (\d+)seconds", status)
    assert left, status
    assert 0 < int(left[1]) < 12 * 3600

    key = tokens.key(emr_lab.keys["JOB_SECRET_ACCESS_KEY"])
    old = tokens.issue(key, session_id, now_s=time.time() - tokens.LIFE_S - 60).text
    address = sessions.url(compose("port", "sessions", "8443").strip(), token=old, session_id=session_id)
    assert "UNAUTHENTICATED" in ask("refused", URLS=json.dumps({"old": address}))["old"]
    shutil.copy(connect_client.__file__, tmp_path)  # as a user has it: with nothing of ours around it
    said = ask("renewed", SPARK_REMOTE=address, PYTHONPATH=str(tmp_path), **aws_variables(emr_lab))
    assert said == {"sum": 499500, "sent": True}


def test_a_session_answers_spark_connects_own_client_and_nobody_else(emr_lab, cluster, opened, ask):
    logs = {"S3LoggingConfiguration": {"Enabled": True, "LogUri": "s3://emrlab/emrlab-logs/"}}
    first = start(emr_lab, cluster, MonitoringConfiguration=logs)
    second = opened.environment["SPARK_REMOTE"].rpartition("=")[2]
    said = ask("queries", URL=url(emr_lab, cluster, first))
    assert said["sum"] == 499500
    assert set(said["nodes"]) <= {"core-1", "core-2"}
    assert said["frame"] == 3

    good = url(emr_lab, cluster, first)
    wrong = {
        "another session": url(emr_lab, cluster, first, named=second),
        "no token": good.replace("x-aws-proxy-auth", "x-other"),
        "altered": good.replace("x-aws-proxy-auth=gAAAAAB", "x-aws-proxy-auth=gAAAAAC"),
        "good": good,
    }
    refused = ask("refused", URLS=json.dumps(wrong))
    assert refused.pop("good") == ""
    assert all("UNAUTHENTICATED" in words for words in refused.values()), refused

    emr_lab.emr.terminate_session(ClusterId=cluster, SessionId=first)
    wait_session(emr_lab, cluster, first, "TERMINATED")
    assert len(applications()) == 1
    assert opened.is_open()
    assert "FAILED_PRECONDITION" in ask("refused", URLS=json.dumps({"ended": good}))["ended"]
    names = emr_lab.names(f"emrlab-logs/{cluster}/sessions/{first}/")
    assert any(name.endswith("SPARK_DRIVER/stderr.gz") for name in names)
    assert any("SPARK_EXECUTOR/" in name for name in names)


def test_a_server_that_dies_in_a_query_is_told_of_and_a_restart_of_the_endpoint_is_not_noticed(
    emr_lab, cluster, python, opened, ask
):
    session_id = start(emr_lab, cluster)
    variables = {**opened.environment, "URL": url(emr_lab, cluster, session_id)}
    with asking(python, variables) as client:
        wait_session(emr_lab, cluster, session_id, "BUSY")
        compose("restart", "emr")
        compose("up", "--detach", "--wait", "--no-deps", "emr")
        assert wait_session(emr_lab, cluster, session_id, "BUSY")["StartedAt"]
        application = applications(session_id.lower())[0]
        for node in ("core-1", "core-2"):
            compose("exec", "-T", node, "sh", "-c", KILL, "kill", application, check=False)
        found = wait_session(emr_lab, cluster, session_id, "FAILED")
        assert found["StateChangeReason"].startswith("The Spark Connect server ended, in YARN FAILED")
        assert error_of(client)
        assert session_id in ask("refused", URLS=json.dumps({"ended": variables["URL"]}))["ended"]
    assert len(applications()) == 1


def test_a_lost_node_ends_its_cluster_and_the_session_with_a_reason(emr_lab, cluster, python, opened, ask):
    address = opened.environment["SPARK_REMOTE"]
    session_id = address.rpartition("=")[2]
    (application,) = applications(session_id.lower())
    with asking(python, {**opened.environment, "URL": address}) as client:
        wait_session(emr_lab, cluster, session_id, "BUSY")
        compose("kill", "core-2")
        try:
            found = wait_session(emr_lab, cluster, session_id, "FAILED")
            assert "A node of the lab was lost: core-2" in found["StateChangeReason"]
            status = emr_lab.wait(cluster, "TERMINATED_WITH_ERRORS")
            assert "A node of the lab was lost: core-2" in status["StateChangeReason"]["Message"]
            assert error_of(client)
        finally:
            compose("up", "--detach", "--wait", "--no-deps", "core-2")
    assert session_id in ask("refused", URLS=json.dumps({"ended": address}))["ended"]
    for node in ("primary", "core-1", "core-2"):
        assert compose("exec", "-T", node, "sh", "-c", RUNS, "runs", application).split() == []
