"""What makes the S3 server ready, where it cannot; tests/lab sees what it does where it can."""

import socket
from threading import Thread

import pytest

from base import env_files
from lab import bucket, credentials


@pytest.fixture
def keys(monkeypatch, tmp_path):
    """The container's environment, and its keys."""
    path = tmp_path / "env"
    monkeypatch.setattr(bucket, "CREDENTIALS", path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    credentials.ensure(path)
    return env_files.read(path)


def test_no_keys(keys, capsys):
    bucket.CREDENTIALS.unlink()
    assert bucket.main() == 1
    assert capsys.readouterr().err == (
        f"error: {bucket.CREDENTIALS}: No such file or directory; the container `secrets` writes it: "
        "docker compose logs secrets\n"
    )


def test_no_answer_is_given_up_in_one_line(keys, capsys, monkeypatch):
    monkeypatch.setattr(bucket, "DEADLINE_S", 0)
    assert bucket.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no answer from http://127.0.0.1:1 for 0 s: ")
    assert "Connection refused" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("403 Forbidden", " still has the keys of an older .env; stop the lab and start it again\n"),
        ("400 Bad Request", " refuses: "),
    ],
)
def test_a_refusal_is_not_tried_again_and_shows_no_key(keys, capsys, monkeypatch, status, words):
    def refuse(server):
        caller = server.accept()[0]
        caller.recv(65536)
        caller.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        caller.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=refuse, args=(server,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert bucket.main() == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not any(value in error for name, value in keys.items() if "SECRET" in name or "PASSWORD" in name)
