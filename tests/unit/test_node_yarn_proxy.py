"""The ResourceManager's proxy: who sees its pages, and who may change something."""

import socket
import struct
import threading
from contextlib import contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from emr_lab.node import http_server, yarn_proxy

TOKEN = "the lab's token"  # noqa: S105


@contextmanager
def serving(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked():
    """What reaches the ResourceManager: method, path, body, headers."""
    return []


@pytest.fixture
def manager(asked):
    """A ResourceManager that answers with what it was asked; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, body, dict(self.headers)))
            content = b"{}" if self.command != "HEAD" else b""
            self.send_response(302 if self.path == "/" else 200)
            for name, value in {
                "Location": "/cluster",
                "Content-Type": "application/json",
                "Set-Cookie": "a=b",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@pytest.fixture
def ask(manager):
    """`ask(method, path, body, headers)`: status, body and headers of the proxy's answer."""
    with serving(yarn_proxy.server(TOKEN, address="127.0.0.1", port=0, behind=manager)) as port:

        def send(method, path, body=None, **headers):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            said = answer.read().decode()
            connection.close()
            return answer.status, said, dict(answer.headers)

        yield send


@pytest.mark.parametrize("host", ["localhost:18088", "127.0.0.1", "emr-primary:8090", "PRIMARY", "[::1]:1"])
def test_pages_are_shown_under_the_names_of_the_lab(ask, asked, host):
    status, said, headers = ask("GET", "/ws/v1/cluster/info?a=b", Host=host, Accept="application/json")
    assert (status, said, headers["Content-Type"]) == (200, "{}", "application/json")
    assert [(method, path) for method, path, _, _ in asked] == [("GET", "/ws/v1/cluster/info?a=b")]
    assert (asked[0][3]["Host"], asked[0][3]["Accept"]) == (host, "application/json")
    assert "Set-Cookie" not in headers


def test_a_page_leads_on_to_the_next(ask):
    status, _, headers = ask("GET", "/")
    assert (status, headers["Location"]) == (302, "/cluster")
    assert ask("HEAD", "/cluster")[:2] == (200, "")


@pytest.mark.parametrize("host", ["evil.example:8088", "primary.evil.example", ""])
def test_another_name_is_a_web_pages_trick(ask, asked, host):
    assert ask("GET", "/ws/v1/cluster/apps", Host=host)[0] == 421
    assert asked == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ws/v1/cluster/apps/new-application", None),
        ("POST", "/ws/v1/cluster/apps", "{}"),
        ("PUT", "/ws/v1/cluster/apps/application_1_0001/state", '{"state":"KILLED"}'),
        ("PUT", "/ws/v1/cluster/scheduler-conf", "{}"),
        ("DELETE", "/ws/v1/cluster/delegation-token", None),
    ],
)
def test_who_has_not_the_token_changes_nothing(ask, asked, method, path, body):
    for shown in ({}, {"X_Token": "x"}, {"X_Token": "ü".encode("latin-1")}):
        status, said, _ = ask(method, path, body, **shown)
        assert (status, said.count("\n")) == (403, 1)
    assert asked == []
    assert ask(method, path, body, X_Token=TOKEN, Content_Type="application/json")[0] == 200
    assert asked[0][:3] == (method, path, (body or "").encode())
    assert TOKEN not in str(asked)


@pytest.mark.parametrize("path", ["/logLevel?log=root&level=DEBUG", "//loglevel"])
def test_a_page_that_changes_something_is_not_shown(ask, asked, path):
    assert ask("GET", path)[0] == 403
    assert asked == []


def test_other_methods_and_bodies_without_end_are_refused(ask, asked):
    assert ask("TRACE", "/")[0] == 501
    assert ask("POST", "/ws/v1/cluster/apps", None, X_Token=TOKEN, Content_Length="-1")[0] == 413
    assert ask("POST", "/ws/v1/cluster/apps", None, X_Token=TOKEN, Content_Length=str(2**40))[0] == 413
    assert asked == []


@pytest.mark.parametrize("leaves", ["the client", "the manager"])
def test_who_leaves_in_the_middle_of_an_answer_is_not_worth_a_word(monkeypatch, capfd, leaves):
    monkeypatch.setattr(yarn_proxy, "ANSWER_TIMEOUT_S", 1 if leaves == "the manager" else 20)
    asked, go, over = threading.Event(), threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.set()
            go.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", str(2**24))
            self.end_headers()
            self.wfile.write(b"x" * (2**24 if leaves == "the client" else 1000))
            self.wfile.flush()
            if leaves == "the manager":
                over.wait(20)

        def log_message(self, *_):
            pass

    with serving(http_server.Server(("127.0.0.1", 0), Slow)) as behind:
        proxy = yarn_proxy.server(TOKEN, address="127.0.0.1", port=0, behind=behind)
        shut = proxy.shutdown_request

        def ended(request):  # the last that is done for a request
            shut(request)
            over.set()

        monkeypatch.setattr(proxy, "shutdown_request", ended)
        with serving(proxy) as port:
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert asked.wait(20)
            if leaves == "the client":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                go.set()
            else:
                go.set()
                came = b"".join(iter(lambda: client.recv(2**16), b""))
                client.close()
                assert came.count(b"HTTP/1.0") == 1, "no second answer within the first"
            assert over.wait(20)
    assert capfd.readouterr().err == ""


def test_what_else_goes_wrong_with_a_request_is_logged(capfd):
    class Wrong(BaseHTTPRequestHandler):
        def do_GET(self):
            raise KeyError("x")

    with serving(http_server.Server(("127.0.0.1", 0), Wrong)) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        with pytest.raises(RemoteDisconnected):
            connection.getresponse()
        connection.close()
    assert "KeyError: 'x'" in capfd.readouterr().err


def test_a_resource_manager_that_is_not_there_is_said():
    with serving(yarn_proxy.server(TOKEN, address="127.0.0.1", port=0, behind=1)) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:39]) == (502, b"the ResourceManager does not answer: [E")
        connection.close()
