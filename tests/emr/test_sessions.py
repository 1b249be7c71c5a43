"""A session that ends while a run goes on: the key is asked for anew, and real time counts."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError, TokenRetrievalError

from launch.emr import aws, cost, follow
from launch.emr.follow import Clients
from launch.emr.s3_requests import Requests
from tests.emr.conftest import BUCKET, REGION
from tests.emr.machinery import ENDING, Machinery

# Asked by boto3 for a key; a session that has less than ten minutes to live is renewed at every use.
PROCESS = "import sys; print(open(sys.argv[1]).read())"


class Guard:
    """A moto server's door, at which only the key that holds now is let in."""

    def __init__(self, behind: str, key: str) -> None:
        self.key, self.refused = key, list[str]()
        guard = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if f"Credential={guard.key}/" not in self.headers.get("Authorization", ""):
                    guard.refused.append(self.path)
                    status, headers = 403, {"Content-Type": "application/xml"}
                    found = b"<Error><Code>ExpiredToken</Code><Message>The token has expired</Message></Error>"
                else:
                    connection = http.client.HTTPConnection(urlsplit(behind).netloc, timeout=30)
                    connection.request(self.command, self.path, body, dict(self.headers))
                    response = connection.getresponse()
                    status, headers, found = response.status, dict(response.getheaders()), response.read()
                self.send_response(status)
                for name, value in headers.items():
                    kept = {"content-length"} if self.command == "HEAD" else set()
                    if (
                        name.lower()
                        not in {"transfer-encoding", "connection", "date", "server", "content-length"} - kept
                    ):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found if self.command != "HEAD" else b"")

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def session(ready, moto_server, tmp_path, monkeypatch):
    """A sign-in tool's keys, of five minutes each, and an S3 that knows the newest alone; calls for the next."""
    document = tmp_path / "key.json"

    def write(key: str) -> None:
        expires = datetime.now(UTC) + timedelta(minutes=5)
        parts = {"AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": expires.isoformat()}
        document.write_text(json.dumps({"Version": 1, **parts}))

    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} -c '{PROCESS}' {document}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    guard = Guard(moto_server, "AKIDFIRST")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{guard.server.server_port}")
    write("AKIDFIRST")

    def renew() -> Guard:
        write("AKIDSECOND")
        guard.key = "AKIDSECOND"
        return guard

    yield renew
    guard.server.shutdown()
    guard.server.server_close()


def test_a_session_that_ends_during_the_run_loses_no_report(session, launch, run_args, monkeypatch, tmp_path):
    watch = follow.follow

    def two_hours(*given, **more):
        watch(*given, **more)
        session()

    monkeypatch.setattr(follow, "follow", two_hours)
    machinery = Machinery()
    machinery.s3 = boto3.client(
        "s3", region_name=REGION, endpoint_url=boto3.client("emr", region_name=REGION).meta.endpoint_url
    )
    with machinery:
        code, out, error = launch(*run_args)
    assert code == 0, error
    assert ENDING in out
    assert (tmp_path / "here" / "report.html").exists()


def test_a_key_in_a_file_is_read_anew(keys, monkeypatch, tmp_path):
    """As sign-in tools write it, with no word on its end."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("first", "second"):
        path.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = s\naws_session_token = t\n")
        found = aws.key()
        assert found.key_id == name
        assert found.expires is not None
        assert found.expires > datetime.now(UTC)


def test_a_client_that_is_there_signs_with_the_key_that_a_sign_in_tool_has_written_meanwhile(
    keys, monkeypatch, tmp_path
):
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    def signed():
        return s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}).partition("Credential=")[2]

    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = s\naws_session_token = t\n"
    path.write_text(text.format("first"))
    s3 = aws.client("s3", REGION)
    assert signed().startswith("first")
    path.write_text("[default]\naws_access_key_id = half\n")
    assert signed().startswith("first"), "it is being written"
    path.write_text(text.format("second"))
    assert signed().startswith("second")
    expired = ClientError({"Error": {"Code": "ExpiredTokenException"}}, "DescribeStep")
    assert aws.is_renewable(expired), "a run that is followed waits for it"


def test_a_lasting_key_is_asked_for_once(keys):
    assert aws.key().expires is None


def test_signing_in_again_elsewhere_is_waited_for(session):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    answers = [TokenRetrievalError(provider="sso", error_msg="expired")] * 40 + ["TERMINATED"]

    class Emr:
        def describe_cluster(self, **_):
            found = answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return {"Cluster": {"Status": {"State": found}}}

    shown = list[str]()
    clients = Clients(emr=Emr(), s3=None, clock=lambda: now[0], sleep=sleep)
    assert follow.wait_ended(clients, "j-1", show=shown.append) == "TERMINATED"
    assert len(shown) == 1, "once, and at once: there is something to be done"
    assert shown[0].startswith("the session has expired; sign in again (aws sso login)")
    assert shown[0].endswith("; trying on")


def test_a_session_in_variables_cannot_be_renewed(keys):
    expired = ClientError({"Error": {"Code": "ExpiredTokenException"}}, "DescribeStep")
    assert not aws.is_renewable(expired)


def test_the_deadline_goes_on_while_the_machine_sleeps(monkeypatch):
    asked = []
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", "the clock that sleep does not stop", raising=False)

    def tell(which):
        asked.append(which)
        return 1.0

    monkeypatch.setattr(time, "clock_gettime", tell)
    assert Clients(emr=None, s3=None).clock() == 1.0
    assert asked == ["the clock that sleep does not stop"]


@pytest.mark.parametrize("running", [True, False])
def test_the_step_ends_within_what_is_paid_and_not_before_its_work(make_spec, running):
    cluster = make_spec().cluster
    rate = cost.Rate(images_s=50.0, model="lite0", image_size=224, source="here")
    requests = Requests(puts=100_000, gets=100_000)
    found = cost.estimate(cluster, rate, images=100_000, size_bytes=0, requests=requests, running=running)
    for max_usd in (found.usd, 5.0):
        step_s = cost.step_s(found, max_usd=max_usd, running=running)
        around_s = 0 if running else cost.START_S + cost.END_S
        assert (step_s + around_s) / 3600 * found.hour_usd + found.requests_usd <= max_usd
        assert step_s >= found.minutes * 60 - around_s - 1
    assert BUCKET
