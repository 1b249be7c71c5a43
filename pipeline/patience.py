"""Outlasts an S3 server that is away for a minute: the one loop around every call to it.

The client's own retries are off: it does not try again after an answer that breaks off half way, nor a POST (deletions)
or a conditional PUT whose connection breaks, gives up after a number of tries instead of a time, and says nothing.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError, GenericError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

log = logging.getLogger("pipeline")

PATIENCE_S = 60.0  # after the first failure of a call
FIRST_CONTACT_S = 2.0  # where nothing ever answered: a wrong address or port is likelier than an outage
SHORTEST_S, LONGEST_S = 0.1, 5.0  # between two tries
PAGE = 1000  # of a listing, as S3 has it
QUIET_S, SAY_EVERY_S = 1.0, 10.0

# How the text of the client's error begins, up to what the server itself wrote. The address in it is quoted and nothing
# else in it is of a user's making: no key can look like the rest.
_BROKEN = r"HTTP error: |Requested \S+, got "
_ANSWER = r"Server returned (?:non-2xx status code: (?P<status>\d{3})(?P<words>[^:\n]*)|error response): (?P<body>.*)"
_TEXT = re.compile(
    rf"^Generic S3 error: (?:Error (?:getting|performing) [^\n]*?)?(?:(?P<broken>{_BROKEN})|{_ANSWER})", re.DOTALL
)
# In the client's own account, where a key's quotes and line ends are quoted too.
_UPLOAD = re.compile(r"^ *uri: Some\(\n *\S+[?&]uploadId=\S+,$", re.MULTILINE)
# 501 and 507, a full disk, stay as they are; S3 says 400 RequestTimeout where a request came too slowly.
_PASSING = {"408", "429", "500", "502", "503", "504"}
_CONNECTION = (
    ("TimedOut|kind: Timeout", "timed out"),
    ("ConnectionRefused|Connection refused", "connection refused"),
    ("dns error", "its name cannot be resolved"),
    ("ConnectionReset|Connection reset", "connection reset"),
)

_T = TypeVar("_T")
# Of a worker's process, the driver has spoken with the server before.
_answered = Event()
_answered.set()
_saying = Lock()
_said_s: float | None = None  # when it was last said that the server is away; None: it is not


def first_contact() -> None:
    """Nothing is known of the server yet: until it has answered once, give up after FIRST_CONTACT_S."""
    _answered.clear()


def patiently(call: Callable[[], _T]) -> _T:
    """What `call` returns; tried again while the S3 server is away, which is said on stderr.

    `call` may have taken effect before it failed: it must be one that may be repeated.

    Raises:
        STORE_ERRORS: it fails for another reason, or still after PATIENCE_S.
    """
    started = time.monotonic()
    failed, pause = 0.0, SHORTEST_S
    while True:
        try:
            answer = call()
        except (BaseError, OSError) as error:
            if "Server returned" in str(error):
                _answered.set()
            cause, now = outage(error), time.monotonic()
            failed = failed or now
            if cause is None or now - failed >= (PATIENCE_S if _answered.is_set() else FIRST_CONTACT_S):
                raise
            if _answered.is_set() and now - started >= QUIET_S:
                _say(f"the S3 server does not answer ({cause}); trying again for up to {PATIENCE_S:.0f} s", now)
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that many do not knock in step
            pause = min(2 * pause, LONGEST_S)
        else:
            if not _answered.is_set():
                _answered.set()
            if _said_s is not None:
                _say_that_it_is_back()
            return answer


def pages(opened: ObjectStore, *, after: str | None = None) -> Iterator[Sequence[ObjectMeta]]:
    """Every object of a store on S3 that follows the name `after`, a page at a time; after an outage it goes on behind
    the last that it gave.

    Raises:
        STORE_ERRORS: the store cannot be listed.
    """
    last = after
    rest = iter(obstore.list(opened, offset=last, chunk_size=PAGE))

    def more() -> Sequence[ObjectMeta] | None:
        nonlocal rest
        try:
            return next(rest, None)
        except BaseError:
            rest = iter(obstore.list(opened, offset=last, chunk_size=PAGE))
            raise

    while page := patiently(more):
        yield page
        last = page[-1]["path"]


def outage(error: Exception) -> str | None:
    """Why the server did not answer, in words; None where trying again cannot help."""
    text = str(error)
    match = _TEXT.match(text)
    # The client gives up an upload in parts whose last answer was lost, and says but that there is no such upload.
    if isinstance(error, FileNotFoundError) and _UPLOAD.search(text.rpartition("Debug source:\n")[2]):
        return "the answer to an upload was lost"
    if not isinstance(error, GenericError) or match is None:
        return None
    if match["broken"]:
        return next((words for pattern, words in _CONNECTION if re.search(pattern, text)), "connection broken")
    code = re.search(r"<Code>(\w+)</Code>", match["body"])
    status = f"{match['status']}{match['words']}" if match["status"] else "200 OK"
    passing = match["status"] in _PASSING or not match["status"] or (code and code[1] == "RequestTimeout")
    return (f"{status}: {code[1]}" if code else status) if passing else None


def _say(words: str, now: float) -> None:
    global _said_s  # noqa: PLW0603 - one stderr a process
    with _saying:
        if _said_s is None or now - _said_s >= SAY_EVERY_S:
            _said_s = now
            log.warning(words)


def _say_that_it_is_back() -> None:
    global _said_s  # noqa: PLW0603
    with _saying:
        if _said_s is not None:
            _said_s = None
            log.warning("the S3 server answers again")
