"""`python -m launch session` and `notebook` with `--target emr`: Amazon's part is played by the lab's endpoint."""

import copy
import os
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

from base.paths import CACHE
from launch import connect_client, notebook, session, transfer
from launch.emr import follow, request, sessions
from launch.emr.request import IDLE_S
from tests import session_file
from tests.emr.conftest import BUCKET
from tests.emr.machinery import keys, place, put
from tests.emr.test_command import Terminal
from tests.unit.fake_nodes import wait_until

SESSION = ("session", "--target", "emr", "--bucket", BUCKET)
OURS = [{"Key": "emrlab", "Value": "true"}, {"Key": request.NODES_TAG, "Value": "2 x m5.xlarge"}]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Where the variables of a session go to."""
    monkeypatch.setattr(session, "CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "sessions"


@pytest.fixture
def ctrl_c(monkeypatch, cache):
    """Presses Ctrl-C at the first look at an open session; what its file of variables had then."""
    seen = dict[str, str]()

    def press(*_, **__):
        (file,) = cache.glob("*.env")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        seen.update(session_file.variables(file))
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions, "_is_open", press)
    return seen


def clusters(fake):
    """The states of all clusters by their ids."""
    return {each["Id"]: each["Status"]["State"] for each in fake.client.list_clusters()["Clusters"]}


def sessions_of(fake, cluster):
    return fake.client.list_sessions(ClusterId=cluster)["Sessions"]


def asked_of(fake, cluster):
    """The RunJobFlow that started a cluster."""
    return fake.endpoint_state.store.clusters[cluster].request


def test_from_the_price_to_no_cluster(sessions_of_emr, launch, ctrl_c, cache):
    code, out, error = launch(*SESSION, "--yes")
    assert code == 0, error
    said = re.search(
        r"^price +\$0\.\d\d an hour of 3 x m5\.xlarge; of it 8 minutes until the session is there, assumed\n"
        r"at most +\$5\.00, MAX_USD: after (\d+) h (\d\d) min YARN ends the session, whoever looks on\n"
        r" +EMR ends it after 60 idle minutes, and its cluster after ten more\n"
        r"based on +prices of eu-west-3",
        out,
    )
    assert said, out
    hours, minutes = said.groups()
    ((cluster, state),) = clusters(sessions_of_emr).items()
    assert state in {"TERMINATING", "TERMINATED"}
    (found,) = sessions_of(sessions_of_emr, cluster)
    assert found["State"] in {"TERMINATING", "TERMINATED"}
    assert found["SessionIdleTimeoutInMinutes"] == 60

    asked = asked_of(sessions_of_emr, cluster)
    assert asked["SessionEnabled"] is True
    assert asked["AutoTerminationPolicy"] == {"IdleTimeout": IDLE_S}, "whatever happens to this machine"
    assert asked["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True
    lifetime_s = int(asked["Configurations"][-1]["Properties"][request.LIFETIME])
    assert lifetime_s // 60 == 60 * int(hours) + int(minutes)
    tags = sessions_of_emr.client.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"]
    assert {"Key": "emrlab", "Value": "true"} in tags, "emr-down finds it"

    token = ctrl_c["SPARK_REMOTE"].partition("x-aws-proxy-auth=")[2].partition(";")[0]
    assert ctrl_c["SPARK_REMOTE"].startswith("sc://127.0.0.1:5443/;use_ssl=true;")
    assert "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" not in ctrl_c, "Amazon's certificate is trusted as every other"
    assert ctrl_c["EMRLAB_CLUSTER"] == cluster
    assert "the token is good for an hour; docs/sessions.md shows how a program renews it\n" in out
    assert token not in out + error
    assert list(cache.iterdir()) == []
    *_, ended, cost = error.splitlines()
    assert ended.endswith(f"cluster {cluster} is ended")
    assert re.fullmatch(r"cost +\$0\.\d\d at list prices in \d minutes; the bill comes from Amazon", cost)


CANNOT_BE = {
    "error: a session of 10 minutes may cost $0.": ("--max-usd", "0.2"),
    "--max-usd: '0' is no price": ("--max-usd", "0"),
    "--max-usd: 'nan' is no price": ("--max-usd", "nan"),
    "RELEASE=emr-7.14.0 has no sessions: they are there since emr-spark-8.0.0": ("--release", "emr-7.14.0"),
    "is above YARN's limit": ("--conf", "spark.executor.memory=64g"),
    "BUCKET=No_Bucket is no valid name": ("--bucket", "No_Bucket"),
    "there is no such cluster in this region": ("--cluster", "j-NONE"),
}


def test_nothing_is_started_that_cannot_be_or_whose_price_is_not_agreed_to(sessions_of_emr, launch, monkeypatch):
    for words, more in CANNOT_BE.items():
        code, _, error = launch(*SESSION, "--yes", *more)
        assert code in {1, 2}
        assert words in error
        assert len(error.splitlines()) == 1
    with Path(os.devnull).open() as nobody:
        for terminal, words in (
            (nobody, "give YES=1 (--yes)"),
            (Terminal("n\n"), "not agreed"),
            (Terminal("\n"), "not agreed"),
        ):
            monkeypatch.setattr("sys.stdin", terminal)
            code, out, error = launch(*SESSION)
            assert (code, out.startswith("price  ")) == (2, True)
            assert words in error
    assert clusters(sessions_of_emr) == {}
    assert keys("artifacts/") == []


def test_a_cluster_that_is_named_is_not_ended(sessions_of_emr, launch, ctrl_c):
    assert launch(*SESSION, "--yes", "--keep")[0] == 0
    (cluster,) = clusters(sessions_of_emr)
    code, out, error = launch(*SESSION, "--yes", "--cluster", cluster)
    assert code == 0, error
    said = re.search(
        r"an hour of 3 x m5\.xlarge; it runs already\n"
        r"at most     \$4\.\d\d, as the cluster was started: after (\d+ h \d\d min) YARN ends the session",
        out,
    )
    assert said, out
    code, _, error_of_less = launch(*SESSION, "--yes", "--cluster", cluster, "--max-usd", "2")
    assert code == 2
    assert (
        f"a session on CLUSTER={cluster} may last {said[1]}, as its cluster was started, and cost $4." in error_of_less
    )
    assert "over MAX_USD=2; raise it" in error_of_less
    assert f"cluster {cluster} ends after ten idle minutes" in error
    assert "cost" not in error
    assert clusters(sessions_of_emr) == {cluster: "WAITING"}
    wait_until(
        lambda: {each["State"] for each in sessions_of(sessions_of_emr, cluster)} == {"TERMINATED"},
        lambda: str(sessions_of(sessions_of_emr, cluster)),
    )
    assert len(sessions_of(sessions_of_emr, cluster)) == 2


def test_a_cluster_that_was_to_stay_and_is_not_there_yet_is_ended(sessions_of_emr, launch, monkeypatch):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions, "_wait_for_cluster", press)
    code, _, error = launch(*SESSION, "--yes", "--keep")
    ((cluster, state),) = clusters(sessions_of_emr).items()
    assert (code, state.startswith("TERMINAT")) == (130, True)
    assert f"cluster {cluster} is ended" in error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SessionEnabled": True}, "was not started by emrlab"),
        ({"Tags": OURS}, "has no sessions; name one of make session"),
    ],
)
def test_a_cluster_without_sessions_or_not_of_ours_is_refused(sessions_of_emr, launch, changes, words):
    cluster = sessions_of_emr.start(keep=True, **changes)
    sessions_of_emr.wait(cluster, "WAITING")
    code, _, error = launch(*SESSION, "--yes", "--cluster", cluster)
    assert code == 2
    assert words in error
    assert sessions_of(sessions_of_emr, cluster) == []


def test_a_bootstrap_action_that_fails_is_told_and_its_cluster_ends(sessions_of_emr, launch, monkeypatch):
    monkeypatch.setattr(follow, "LOGS_S", 0)  # the log comes to the stand-in's own S3
    (script,) = (sessions_of_emr.root / "s3" / BUCKET / "artifacts" / "bootstrap").iterdir()
    script.write_text("#!/bin/sh\nexit 3\n")
    code, _, error = launch(*SESSION, "--yes")
    assert code == 1
    assert "error: the bootstrap action failed" in error.splitlines()[-1]
    assert all(state.startswith("TERMINAT") for state in clusters(sessions_of_emr).values())


def test_a_session_that_ends_by_itself_says_why(sessions_of_emr, launch, monkeypatch):
    ask = sessions._is_open

    def lose(emr, cluster, session_id, **how):
        name = next(name for name, tag in sessions_of_emr.applications.items() if tag == session_id.lower())
        sessions_of_emr.details[name] |= {"state": "KILLED", "diagnostics": "exceeded its lifetime"}
        wait_until(lambda: sessions_of(sessions_of_emr, cluster)[0]["State"] == "FAILED", str)
        return ask(emr, cluster, session_id, **how)

    monkeypatch.setattr(sessions, "_is_open", lose)
    code, _, error = launch(*SESSION, "--yes")
    assert code == 1
    assert re.search(r"session is-\S+ is FAILED: .*exceeded its lifetime", error)
    assert error.splitlines()[-1].startswith("error: the session's server has ended")
    assert all(state.startswith("TERMINAT") for state in clusters(sessions_of_emr).values())


def test_a_kept_cluster_that_has_ended_is_offered_to_nobody(sessions_of_emr, launch, monkeypatch):
    ask = sessions._is_open

    def end(emr, cluster, session_id, **how):
        sessions_of_emr.client.terminate_job_flows(JobFlowIds=[cluster])
        wait_until(lambda: sessions_of(sessions_of_emr, cluster)[0]["State"] in {"FAILED", "TERMINATED"}, str)
        return ask(emr, cluster, session_id, **how)

    monkeypatch.setattr(sessions, "_is_open", end)
    code, _, error = launch(*SESSION, "--yes", "--keep")
    assert code == 1
    assert "is TERMINATED: Cluster j-" in error
    assert "ten idle minutes" not in error


def test_the_notebook_gets_the_photographs_as_a_run_does(sessions_of_emr, launch, photos, monkeypatch, tmp_path):
    seen = dict[str, str]()

    def render(python, name, page, variables):
        seen.update(variables)
        return 0

    monkeypatch.setattr(notebook, "environment", lambda _, **__: Path(sys.executable))
    monkeypatch.setattr(notebook, "_render", render)
    put(place(photos), "Lime/0.jpg")
    page = ("--html", str(tmp_path / "page.html"))
    places = ("--input", str(photos), "--output", str(tmp_path / "out"))
    code, _, error = launch("notebook", *SESSION[1:], *places, *page, "--yes")
    assert code == 0, error
    assert f"holds 1 objects that {photos} has not got" in error
    assert f"{place(photos)}/Lime/0.jpg" in keys(place(photos)), "what is the user's stays"
    assert len(keys(place(photos))) == 7
    assert seen["EMRLAB_INPUT"] == f"s3://{BUCKET}/{place(photos)}"
    results = transfer.place(tmp_path / "out", owner=transfer.mark(CACHE))
    assert seen["EMRLAB_OUTPUT"] == f"s3://{BUCKET}/results/{results}"
    assert seen["EMRLAB_SLOTS"] == "8"
    assert seen["GRPC_ENABLE_FORK_SUPPORT"] == "0"
    assert seen["JUPYTER_CONFIG_PATH"] == "", "as one of the user may have no token"
    ((cluster, state),) = clusters(sessions_of_emr).items()
    assert state.startswith("TERMINAT")
    assert seen["EMRLAB_CLUSTER"] == cluster


def test_a_token_is_renewed_before_it_ends(sessions_of_emr, launch, ctrl_c, monkeypatch):
    monkeypatch.setattr(sessions, "_terminate", lambda *_, **__: None)
    assert launch(*SESSION, "--yes", "--keep")[0] == 0
    clock = sessions_of_emr.clock
    monkeypatch.setattr("launch.connect_client.time", SimpleNamespace(time=clock))
    session_id = ctrl_c["SPARK_REMOTE"].rpartition("=")[2]
    headers = connect_client.Headers(
        {"x-aws-proxy-auth": "old", "authorization": session_id},
        cluster_id=ctrl_c["EMRLAB_CLUSTER"],
        region=ctrl_c["EMRLAB_REGION"],
    )
    kept = copy.deepcopy(headers)  # as Spark's client does for a cloned session
    first = dict(kept)
    assert first["authorization"] == session_id
    assert first["x-aws-proxy-auth"] != "old", "how old the address is, nobody knows"
    clock.passed_s = 3600 - connect_client.EARLY_S - 60
    assert dict(kept) == first
    clock.passed_s += 120
    second = dict(kept)
    assert second["x-aws-proxy-auth"] != first["x-aws-proxy-auth"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    clock.passed_s += 3600 - connect_client.EARLY_S / 2
    assert dict(kept) == second, "EMR does not answer, and the token is good still"


def test_a_token_is_renewed_with_the_key_of_who_has_signed_in_anew(
    sessions_of_emr, launch, ctrl_c, monkeypatch, tmp_path
):
    monkeypatch.setattr(sessions, "_terminate", lambda *_, **__: None)
    assert launch(*SESSION, "--yes", "--keep")[0] == 0
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    headers = connect_client.Headers(
        {"authorization": ctrl_c["SPARK_REMOTE"].rpartition("=")[2]},
        cluster_id=ctrl_c["EMRLAB_CLUSTER"],
        region=ctrl_c["EMRLAB_REGION"],
    )
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = test\n"
    path.write_text(text.format("gone"))
    with pytest.raises(ClientError):
        dict(headers)
    path.write_text(text.format("test"))
    assert dict(headers)["x-aws-proxy-auth"]


@pytest.mark.parametrize("target", ["local", "lab"])
@pytest.mark.parametrize("name", ["session", "notebook"])
@pytest.mark.parametrize(("flag", "value"), [("--bucket", ["mine"]), ("--max-usd", ["7"]), ("--keep", [])])
def test_what_is_of_emr_is_not_taken_elsewhere(launch, tmp_path, name, target, flag, value):
    places = ("--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")) if name == "notebook" else ()
    code, _, error = launch(name, "--target", target, *places, flag, *value)
    assert code == 2
    assert error == f"error: {flag} is of --target emr and emr-lab, not {target}; leave it out\n"


@pytest.mark.parametrize("name", ["session", "notebook"])
def test_help_reads_well_at_eighty_columns(launch, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        launch(name, "--help")
    text = capsys.readouterr().out
    assert "the cluster of --target emr and emr-lab" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_variables_of_a_session_are_what_the_client_reads():
    read = set(re.findall(r'"(SPARK_REMOTE|EMRLAB_\w+)"', Path(connect_client.__file__).read_text()))
    written = Path(sessions.__file__).read_text()
    assert read == {"SPARK_REMOTE", "EMRLAB_CLUSTER", "EMRLAB_REGION"}
    assert all(f'"{name}"' in written for name in read)
