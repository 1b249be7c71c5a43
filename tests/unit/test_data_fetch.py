"""A file from the web, from servers that break off, lie and change their minds."""

import fcntl
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import urlopen

import pytest

from base.errors import UsageError
from data import fetch, members, meter
from data.fetch import FetchError

BODY = members.ZIP + bytes(range(256)) * 1000
DIGEST = sha256(BODY).hexdigest()


@dataclass
class World:
    """A server's file, how it answers, and what it was asked.

    Attributes:
        breaks: after how many bytes of a body the connection ends, answer by answer; then none does.
        statuses: answers that come before the file's own.
    """

    body: bytes = BODY
    etag: str = '"1"'
    kind: str = "application/zip"
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    says_length: int | None = None
    silent_length: bool = False
    moves_to: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    address: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(handler.headers))
        if self.moves_to and handler.path == "/set.zip":
            handler.send_response(302)
            handler.send_header("Location", self.moves_to)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        first = 0
        if self.ranges and (wanted := handler.headers.get("Range")) and handler.headers.get("If-Range") == self.etag:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first and first >= len(self.body):
            handler.send_error(416)
            return
        content = self.body[first:]
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Type", self.kind)
        if self.etag:
            handler.send_header("ETag", self.etag)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        if not self.silent_length:
            handler.send_header("Content-Length", str(self.says_length or len(content)))
        handler.end_headers()
        handler.wfile.write(content[: self.breaks.pop(0)] if self.breaks else content)
        handler.close_connection = True


@contextmanager
def serving(world: World) -> Iterator[World]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world.answer(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    world.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE_S", 0.001)
    monkeypatch.setattr(fetch, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(fetch, "HEAD_BYTES", 8)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(World()) as made:
        yield made


@pytest.fixture
def get(world, tmp_path):
    def call(out=None, name="set.zip", **more):
        return fetch.fetch(
            f"{world.address}/{name}", tmp_path, is_archive=members.is_archive, out=out or io.StringIO(), **more
        )

    return call


def test_a_file_comes_whole_and_once(world, get):
    found = get()
    assert found.path.read_bytes() == BODY
    assert (found.size, found.sha256) == (len(BODY), DIGEST)
    assert get() == found
    assert len(world.asked) == 1, "what is here is not fetched again"
    assert {path.name for path in found.path.parent.iterdir()} == {"archive", "record.json", "lock"}


@pytest.mark.parametrize("breaks", [[1000], [1000, 0, 70_000, 1], [0, 0, 4, 8, 100]])
def test_a_connection_that_breaks_is_taken_up_where_it_stopped(world, get, breaks):
    world.breaks = list(breaks)
    assert get().path.read_bytes() == BODY
    ranges = [headers["Range"] for headers in world.asked if "Range" in headers]
    assert len(world.asked) == len(breaks) + 1
    assert ranges[-1:] == [f"bytes={sum(breaks)}-"]
    assert all(headers["Accept-Encoding"] == "identity" for headers in world.asked)


def test_the_next_run_goes_on_where_the_last_stopped(world, get):
    world.breaks = [100_000]
    out = io.StringIO()

    def refuse(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", refuse)
        with pytest.raises(KeyboardInterrupt):
            get(out=out)
    assert "100,000 of 256,004 bytes; trying again" in out.getvalue()
    assert get().sha256 == DIGEST
    assert world.asked[-1]["Range"] == "bytes=100000-"


def test_a_server_without_ranges_sends_it_anew(world, get):
    world.ranges, world.breaks = False, [1000, 2000]
    assert get().path.read_bytes() == BODY


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_what_has_no_sure_version_is_never_continued(world, get, etag):
    world.etag, world.breaks = etag, [1000]
    assert get().path.read_bytes() == BODY
    assert not [headers for headers in world.asked if "Range" in headers]


def test_another_version_in_the_middle_is_fetched_anew(world, get):
    world.breaks = [1000]
    answer = world.answer

    def change(handler):
        if world.asked:
            world.body, world.etag = BODY[::-1].join([members.ZIP, b""]), '"2"'
        answer(handler)

    world.answer = change
    assert get().path.read_bytes() == world.body != BODY


def test_a_server_that_continues_another_version_is_not_believed(world, get, monkeypatch):
    world.breaks = [1000]
    answer = world.answer

    def lie(handler):
        if len(world.asked) == 1:
            world.body = members.ZIP + b"x" * 50_000  # another file, by the same ETag
        answer(handler)

    world.answer = lie
    assert get().path.read_bytes() == world.body


def test_what_is_longer_here_than_there_is_fetched_anew(world, get):
    world.breaks = [1000]
    answer = world.answer

    def shrink(handler):
        if len(world.asked) == 1:
            world.body = BODY[:600]
        answer(handler)

    world.answer = shrink
    assert get().path.read_bytes() == BODY[:600]


def test_a_length_that_is_a_lie_is_no_whole_file(world, get, monkeypatch):
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.2)
    world.says_length, world.ranges = len(BODY) + 1, False
    with pytest.raises(FetchError, match=r"got no further in 0 s and more: .* of 256,005 bytes"):
        get()


def test_without_a_length_the_end_is_the_end(world, get):
    world.silent_length = True
    assert get().path.read_bytes() == BODY


def test_a_busy_server_is_waited_for(world, get):
    world.statuses = [503, 429, 500]
    out = io.StringIO()
    assert get(out=out).sha256 == DIGEST
    assert "answers 503 Service Unavailable; trying again" in out.getvalue()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(world, get, status):
    world.statuses = [status] * 2
    with pytest.raises(FetchError, match=rf"set.zip answers {status} "):
        get()
    assert len(world.asked) == 1


def test_a_page_is_no_archive(world, get):
    world.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="answers with a page, not with an archive"):
        get()


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"x" * 5000, b"{}"])
def test_what_does_not_begin_like_an_archive_is_none(world, get, body):
    world.body = body
    with pytest.raises(FetchError, match=r"is neither zip, tar nor tar.gz"):
        get()
    assert len(world.asked) == 1


def test_an_empty_file_is_none(world, get):
    world.body = b""
    with pytest.raises(FetchError, match="is empty"):
        get()


def test_it_may_move(world, get):
    world.moves_to = f"{world.address}/elsewhere.zip"
    assert get().sha256 == DIGEST


def test_it_may_not_move_for_ever_nor_to_a_file_of_this_machine(world, get):
    for place in ("/set.zip", "file:///etc/hostname"):
        world.moves_to = place
        with pytest.raises(FetchError, match="answers 302"):
            get()


@pytest.mark.parametrize("place", ["http://a..b/set.zip", "http://[::1/set.zip", "http://127.0.0.1:port/set.zip"])
def test_where_no_address_leads_is_said_at_once(world, get, place):
    world.moves_to = place
    with pytest.raises(FetchError, match="leads to no address"):
        get()
    assert len(world.asked) == 1


def test_what_begins_encrypted_stays_so_however_its_address_is_written(world, tmp_path, monkeypatch):
    plain = urlopen(f"{world.address}/set.zip")  # noqa: S310 - the test's own server
    monkeypatch.setattr(fetch, "urlopen", lambda *_, **__: plain)
    with pytest.raises(FetchError, match="which is not encrypted"):
        fetch.fetch("HTTPS://host/set.zip", tmp_path, is_archive=members.is_archive, out=io.StringIO())


def test_a_length_of_400_digits_is_none(world, get):
    world.says_length = 10**400
    assert get().path.read_bytes() == BODY


def test_nobody_there(tmp_path, world, monkeypatch):
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.2)
    with pytest.raises(FetchError, match=r"got no further in 0 s and more: .*refused"):
        fetch.fetch("http://127.0.0.1:9/set.zip", tmp_path, is_archive=members.is_archive, out=io.StringIO())


def test_the_hash_that_is_asked_for_holds(world, get, tmp_path):
    with pytest.raises(FetchError, match=f"has the SHA-256 {DIGEST}, not {'0' * 64}"):
        get(expected="0" * 64)
    assert not list(tmp_path.rglob("archive*")), "what is wrong is not kept"
    assert get(expected=DIGEST).sha256 == DIGEST
    with pytest.raises(FetchError, match="has the SHA-256"):
        get(expected="0" * 64)
    asked = len(world.asked)
    assert get().path.read_bytes() == BODY
    assert len(world.asked) == asked, "a hash that was mistyped costs no other download"


def test_what_was_changed_here_is_fetched_again(world, get):
    found = get()
    found.path.write_bytes(BODY[:-1] + b"x")
    assert get().path.read_bytes() == BODY
    (found.path.parent / "record.json").write_text("{")
    assert get().path.read_bytes() == BODY
    assert len(world.asked) == 3


def test_who_is_ended_between_record_and_name_has_the_whole(world, get):
    found = get()
    found.path.rename(found.path.with_name("archive.half"))
    found.path.with_name("half.json").write_text(json.dumps({"validator": '"1"', "total_b": len(BODY)}))
    assert get().path.read_bytes() == BODY
    assert len(world.asked) == 1


def test_two_at_a_time_are_kept_apart(world, get):
    lock = get().path.with_name("lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match=r"another make data fetches .*set.zip; wait for its end"):
            get()


def test_a_full_disk_is_seen_before(world, get, monkeypatch):
    monkeypatch.setattr(fetch, "RESERVE_BYTES", 2**60)
    with pytest.raises(FetchError, match=r"has 0.0 GB, and .* GB are free in .*; free some"):
        get()


def test_a_body_without_end_does_not_fill_the_disk(world, get, monkeypatch):
    world.silent_length = True
    monkeypatch.setattr(fetch, "RESERVE_BYTES", 2**60)
    with pytest.raises(FetchError, match="has less than 1 GB free"):
        get()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/set.zip", "is no address"),
        ("file:///etc/passwd", "is no address"),
        ("https:///set.zip", "is no address"),
        ("https://[::1/set.zip", "is no address"),
        ("https://a..b/set.zip", "is no address"),
        ("https://host:abc/set.zip", "is no address"),
        ("https://host/Früchte.zip", "is no address"),
        ("https://host/a b.zip", "is no address"),
        ("https://me:secret@host/set.zip", "a password in its address"),
    ],
)
def test_an_address_that_cannot_be(tmp_path, url, words):
    with pytest.raises(UsageError, match=words) as caught:
        fetch.fetch(url, tmp_path, is_archive=members.is_archive)
    assert "secret" not in str(caught.value)


def test_what_is_secret_in_an_address_is_shown_nowhere(world, get, tmp_path):
    world.statuses = [404]
    with pytest.raises(FetchError) as caught:
        get(name="set.zip?token=secret")
    assert "secret" not in str(caught.value)
    get(name="set.zip?token=secret")
    assert not [path for path in tmp_path.rglob("*.json") if "secret" in path.read_text()]


def test_progress_has_rate_and_rest():
    assert meter.line(35_200_000, 812_000_000, start_b=15_200_000, seconds=5.0, words="fetched") == (
        "fetched 35.2 of 812.0 MB · 4.0 MB/s · ETA 194 s"
    )
    assert meter.line(0, 812_000_000, start_b=0, seconds=0.0, words="fetched").endswith("ETA not known yet")
    assert meter.line(10**6, None, start_b=0, seconds=1.0, words="unpacked") == "unpacked 1.0 MB · 1.0 MB/s"


def test_progress_is_shown_while_it_goes_on(world, get, monkeypatch):
    monkeypatch.setattr(meter, "LOG_S", 0.0)
    monkeypatch.setattr(meter, "TERMINAL_S", 0.0)
    for live, start in ((False, "fetched "), (True, "\r\033[Kfetched ")):
        out = io.StringIO()
        get(out=out, live=live, name=f"{live}.zip")
        assert out.getvalue().startswith(start)
        assert out.getvalue().endswith("\n")
