"""What a server is asked for where users are not MinIO's: tests/lab shows what it comes to (make test-s3-servers)."""

import json
from threading import Thread
from xml.etree import ElementTree

import pytest
import urllib3
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from lab import s3_users

STATEMENT = {
    "Sid": "Read",
    "Effect": "Allow",
    "Action": ["s3:GetObject"],
    "Resource": ["arn:aws:s3:::emrlab/images/*"],
}
USER = s3_users.User(name="job", key_id="job-1", secret="s<e>cret&", statements=[STATEMENT])  # noqa: S106


@pytest.fixture
def gateway():
    """`gateway(answers)` makes a server with these answers, statuses or with a body; it and what it is asked."""
    servers = []

    def make(*statuses):
        asked, waiting = [], list(statuses)

        def application(environ, start_response):
            request = Request(environ)
            asked.append((request.method, request.full_path, request.get_data(), dict(request.headers)))
            answer = waiting.pop(0)
            status, said = answer if isinstance(answer, tuple) else (answer, "no\n such thing")
            return Response(said, status=status)(environ, start_response)

        server = make_server("127.0.0.1", 0, application)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        http = urllib3.PoolManager(timeout=5, retries=False)
        root = s3_users.Server(address=address, region="eu-west-3", root="root", password="root-secret", http=http)  # noqa: S106
        return root, asked

    yield make
    for server in servers:
        server.shutdown()


def test_a_user_is_made_and_the_bucket_says_what_it_may(gateway):
    root, asked = gateway(201, 404, 200)
    s3_users.versitygw(root, [USER], former=frozenset(), bucket="emrlab")
    (method, path, account, headers), (get, _, _, _), (put, bucket, policy, _) = asked
    assert (method, path) == ("PATCH", "/create-user?")
    assert {each.tag: each.text for each in ElementTree.fromstring(account)} == {  # noqa: S314
        "Access": "job-1", "Secret": "s<e>cret&", "Role": "user",
    }  # fmt: skip
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=root/")
    assert "/eu-west-3/s3/aws4_request" in headers["Authorization"]
    assert (get, put, bucket) == ("GET", "PUT", "/emrlab?policy=")
    statements = json.loads(policy)["Statement"]
    assert statements == [{**STATEMENT, "Sid": "jobRead", "Principal": {"AWS": ["job-1"]}}]


def test_a_user_that_is_there_gets_the_secret_that_holds(gateway):
    root, asked = gateway(409, 200, 404, 200)
    s3_users.versitygw(root, [USER], former=frozenset(), bucket="emrlab")
    method, path, content, _ = asked[1]
    assert (method, path) == ("PATCH", "/update-user?access=job-1")
    assert ElementTree.fromstring(content).findtext("Secret") == "s<e>cret&"  # noqa: S314


def test_what_others_may_stays_and_users_made_here_before_are_removed(gateway):
    def about(*names):
        return {"Sid": "x", "Principal": {"AWS": list(names)}}

    others = [about("alice"), about("data-of-alice", "job-0"), {"Sid": "y", "Principal": "*"}]
    old = json.dumps({"Statement": [about("job-0"), *others, about("job-1")]})
    root, asked = gateway(201, (200, old), 200, 404)
    s3_users.versitygw(root, [USER], former={"job-0", "job-1"}, bucket="emrlab")
    statements = json.loads(asked[2][2])["Statement"]
    assert statements[1:] == others
    assert [path for method, path, _, _ in asked[3:] if method == "PATCH"] == ["/delete-user?access=job-0"]


@pytest.mark.parametrize("statuses", [(500,), (201, 403), (201, 404, 403)])
def test_a_refusal_is_one_line_without_the_secret(gateway, statuses):
    root, _ = gateway(*statuses)
    with pytest.raises(s3_users.RefusedError) as caught:
        s3_users.versitygw(root, [USER], former=frozenset(), bucket="emrlab")
    assert str(caught.value) == f"{statuses[-1]} no such thing"
    assert USER.secret not in repr(USER) + repr(root)
