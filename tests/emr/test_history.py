"""Event logs of a bucket, shown by the lab's history server; Docker is a script that notes what it was asked for."""

import os
import re
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest

from base.waiting import attempts
from launch.emr import history
from launch.emr.aws import EmrError
from tests.emr.conftest import BUCKET, REGION

ROOT = Path(__file__).parents[2]
LOGS = {
    "eventlog_v2_application_1_0001/appstatus_application_1_0001": b"",
    "eventlog_v2_application_1_0001/events_1_application_1_0001.zstd": b"events",
    "application_1_0002": b"one file",
}


@pytest.fixture
def s3(amazon):
    client = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_object(Bucket=BUCKET, Key="spark-events/")
    return client


@pytest.fixture
def logs(s3):
    for name, content in LOGS.items():
        s3.put_object(Bucket=BUCKET, Key=f"spark-events/{name}", Body=content)
    return s3


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_logs_come_once_and_again_when_they_have_grown(logs, tmp_path):
    folder = tmp_path / "logs"
    assert history.fetch(logs, BUCKET, folder, show=print) == 3
    assert files(folder) == LOGS
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    logs.put_object(Bucket=BUCKET, Key="spark-events/application_1_0002", Body=b"one file, longer")
    history.fetch(logs, BUCKET, folder, show=print)
    assert files(folder) == LOGS | {"application_1_0002": b"one file, longer"}
    renewed = [path.name for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert renewed == ["application_1_0002"]


def test_the_containers_user_can_read_them_whatever_the_umask(logs, tmp_path):
    before = os.umask(0o077)
    try:
        history.fetch(logs, BUCKET, tmp_path / "closed" / "logs", show=print)
    finally:
        os.umask(before)
    places = [tmp_path / "closed" / "logs", *(tmp_path / "closed" / "logs").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in places if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in places if path.is_file()} == {0o644}
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "a/../../x", ".hidden", "a//b", "./x"])
def test_a_name_that_leaves_the_folder_is_left_out(logs, tmp_path, name):
    logs.put_object(Bucket=BUCKET, Key=f"spark-events/{name}", Body=b"theirs")
    shown = list[str]()
    history.fetch(logs, BUCKET, tmp_path / "a" / "logs", show=shown.append)
    assert files(tmp_path) == {f"a/logs/{each}": content for each, content in LOGS.items()}
    assert shown == [f"left out: {name}, which is no name of a log"]


def test_a_bucket_without_logs_says_where_they_would_be(s3, tmp_path):
    with pytest.raises(EmrError, match=f"s3://{BUCKET}/spark-events/ holds no event log"):
        history.fetch(s3, BUCKET, tmp_path, show=print)


def test_the_container_gets_the_folder_and_a_port_and_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    asked = history.command(tmp_path, "emrlab/spark:default", name="n")
    assert asked[asked.index("--volume") + 1] == f"{tmp_path}:/events:ro"
    assert asked[asked.index("--publish") + 1] == "127.0.0.1:0:18080"
    assert asked[asked.index("--cap-drop") + 1] == "ALL"
    assert {"--rm", "--read-only", "no-new-privileges:true"} <= set(asked)
    given = [asked[place + 1].partition("=")[0] for place, arg in enumerate(asked) if arg == "--env"]
    assert given == ["SPARK_DAEMON_MEMORY", "SPARK_HISTORY_OPTS"]
    assert "the-secret" not in " ".join(asked)


@pytest.fixture
def server():
    """What answers as Spark's history server does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=made.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.fixture
def docker(tmp_path, monkeypatch, server):
    """A `docker` on PATH; the file in which it notes its command lines."""
    noted, folder = tmp_path / "asked", tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(
        f"""#!/bin/sh
echo "$@" >>{noted}
case $1 in
image) cat {tmp_path}/image ;;
port) [ -s {tmp_path}/pid ] && echo {server} ;;
run) [ ! -e {tmp_path}/late ] || sleep 1; echo $$ >{tmp_path}/pid; exec sleep 300 ;;
rm) kill $(cat {tmp_path}/pid) ;;
esac
"""
    )
    (folder / "docker").chmod(0o755)
    (tmp_path / "image").write_text("0123456789ab\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return noted


# `python -m launch`, but for the folder that the logs go to.
LAUNCH = """
import sys
from pathlib import Path
from launch.__main__ import main
from base import paths
from pipeline import signals
paths.OUT = Path(sys.argv[1])
signals.install_handlers()
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_says_its_address_and_ends_with_its_container(logs, docker, server, tmp_path, number, code):
    command = [sys.executable, "-c", LAUNCH, str(tmp_path / "out"), "emr-history", "--bucket", BUCKET]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout is not None
    try:
        said = [job.stdout.readline(), job.stdout.readline()]
        assert said == [
            f"3 files of event logs are in {os.path.relpath(tmp_path / 'out' / 'history' / BUCKET, ROOT)}\n",
            f"history     http://{server} (Ctrl-C ends it)\n",
        ]
        job.send_signal(number)
        _, error = job.communicate(timeout=60)
    finally:
        job.kill()
    assert (job.returncode, error) == (code, "")
    name = re.search(r"--name (\S+)", docker.read_text())
    assert name is not None
    assert docker.read_text().splitlines()[-1] == f"rm --force {name[1]}"


def test_a_container_that_docker_is_just_making_is_not_left_behind(logs, docker, tmp_path):
    (tmp_path / "late").touch()
    command = [sys.executable, "-c", LAUNCH, str(tmp_path / "out"), "emr-history", "--bucket", BUCKET]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in attempts(timeout_s=60, interval_s=0.02):
            if docker.exists() and "\nrun " in docker.read_text():
                break
        assert not (tmp_path / "pid").exists()
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_without_the_image_one_line_says_how_to_build_it(logs, docker, launch, monkeypatch, tmp_path):
    (tmp_path / "image").write_text("")
    monkeypatch.setattr("base.paths.OUT", tmp_path / "out")
    code, _, error = launch("emr-history", "--bucket", BUCKET)
    assert code == 2
    assert error == "error: the lab's image emrlab/spark:default is not built; run: make up\n"
