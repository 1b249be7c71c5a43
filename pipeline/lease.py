"""One run at a time writes to an output: the store itself says which, in `_incomplete/owner.json`.

In a folder the owner holds a lock on that file, which the kernel frees when its process ends, however it ends. In a
bucket it is an object that is only ever written on condition of what was there before (If-None-Match, If-Match), so
that of two runs one is told; the owner writes it anew every RENEWED_EVERY_S. A dead owner's is taken over: at once
where its process can be seen to be gone, else when it has been silent for SILENT_S by the server's clock. An owner that
only slept learns of it before its next step that cannot be taken back.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import ObjectStore

from pipeline import interrupt, store
from pipeline.publication import OWNER
from pipeline.results import staging
from pipeline.settings import RunError

_T = TypeVar("_T")

log = logging.getLogger("pipeline")

RENEWED_EVERY_S = 15.0
SILENT_S = 60.0
TRIES = 5
NOBODY = "unknown"
LOST = "the output was taken over by another run, or cleared, while this one was not heard of; run again"


@dataclass(frozen=True)
class Owner:
    """A run and its driver.

    Attributes:
        run: its name.
        user: who started it.
        host: name of the machine, which containers may share.
        pid: of the driver.
        machine: this boot of this kernel, and the process table that `pid` belongs to; empty where that is not to be
            had (macOS).
        began: when the process began, in the kernel's ticks: a number that comes again is not the same process.
        renewed: how often the lease was written, so that no two versions of it are equal.
    """

    run: str
    user: str = "?"
    host: str = "?"
    pid: int = 0
    machine: str = ""
    began: str = ""
    renewed: int = 0

    def __str__(self) -> str:
        return f"run {self.run} of {self.user} on {self.host} (process {self.pid})"


def hold(output: str, run: str) -> AbstractContextManager[Callable[[], None]]:
    """Own the output as long as the context lasts; gives what raises RunError once the output is another's.

    Raises:
        RunError: another run owns it.
        STORE_ERRORS: the output cannot be written.
    """
    place, me = f"{staging(output)}/{OWNER}", this_process(run)
    return _leased(place, me, output) if output.startswith("s3://") else _locked(Path(place), me, output)


def is_claimed(output: str) -> bool:
    """Whether a run says there that the output is its own, be it alive or dead.

    Raises:
        STORE_ERRORS: the output cannot be read.
    """
    place = f"{staging(output)}/{OWNER}"
    if not output.startswith("s3://") and not Path(place).is_file():  # to open a folder's store makes the folder
        return False
    try:
        return _owner(store.read(place)).run != NOBODY
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path, me: Owner, output: str) -> Iterator[Callable[[], None]]:
    opened = _lock(path, output)

    def is_ours() -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(path.lstat(), os.fstat(opened))
        return False

    def confirm() -> None:
        if not is_ours():
            raise RunError(LOST)

    try:
        os.truncate(opened, 0)
        os.write(opened, json.dumps(asdict(me)).encode())
        yield confirm
    finally:
        try:
            if is_ours():
                path.unlink()
                with suppress(OSError):  # the features of a run that failed are in it
                    path.parent.rmdir()
        finally:
            os.close(opened)


def _lock(path: Path, output: str) -> int:
    """The file at `path`, open and locked. Whoever gives it back removes it: it may go between the two."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.lstat(), os.fstat(opened)):
                return opened
        except BlockingIOError as error:
            owner = _owner(os.read(opened, 2**16))
            os.close(opened)
            raise _refusal(output, owner, "it still runs") from error
        except FileNotFoundError:
            pass
        os.close(opened)


@contextmanager
def _leased(uri: str, me: Owner, output: str) -> Iterator[Callable[[], None]]:
    lease, ended = _Lease(uri, me), Event()
    lease.take(output)

    def renew() -> None:
        while not ended.wait(RENEWED_EVERY_S):
            try:
                lease.renew()
            except RunError:
                interrupt.cancel_jobs()
                return
            except store.STORE_ERRORS:  # no answer now: the next time, or whoever confirms will say so
                continue

    heart = Thread(target=renew, daemon=True, name="lease")
    heart.start()
    try:
        yield lease.renew
    except Exception as error:
        if lease.is_lost:  # what failed was cancelled for that
            raise RunError(LOST) from error
        raise
    finally:
        ended.set()
        heart.join()
        # A lease that cannot be given back is found dead by the next run: no reason to call what was done a failure.
        with suppress(RunError, *store.STORE_ERRORS):
            lease.give_back()


@dataclass(frozen=True)
class _StoredLease:
    owner: Owner
    etag: str
    written: datetime


class _Lease:
    """The lease in a bucket, and what is known of its last version that was ours."""

    def __init__(self, uri: str, me: Owner) -> None:
        self._folder, _, self._name = uri.rpartition("/")
        self._me = asdict(me)
        self._etag = ""
        self._one_at_a_time = Lock()
        self.is_lost = False

    def take(self, output: str) -> None:
        """Become the owner.

        Raises:
            RunError: another is, and may be alive.
        """
        for _ in range(TRIES):
            stored = self._find()
            if stored is None:
                is_ours = self._put("create")
            elif stored.owner.run == self._me["run"]:  # written by a try whose answer was lost
                is_ours, self._etag = True, stored.etag
            elif reason := self._life(stored):
                raise _refusal(output, stored.owner, reason)
            else:
                log.info("%s is dead: this run takes its output over", stored.owner)
                is_ours = self._put({"e_tag": stored.etag})
            if is_ours:
                return
        raise RunError(f"--output {output}: several runs want it at once; run again")

    def renew(self) -> None:
        """Write the lease anew.

        Raises:
            RunError: it is another's by now.
            STORE_ERRORS: the server does not answer.
        """
        with self._one_at_a_time:
            for _ in range(TRIES):
                if self.is_lost:
                    break
                self._me["renewed"] += 1
                if self._put({"e_tag": self._etag}):
                    return
                stored = self._find()
                if stored is None or stored.owner.run != self._me["run"]:
                    self.is_lost = True
                else:  # written by a try whose answer was lost: by this one, or by one before
                    self._etag = stored.etag
                    if stored.owner.renewed == self._me["renewed"]:
                        return
            raise RunError(LOST)

    def give_back(self) -> None:
        """Remove the lease, just confirmed as ours: there is no delete on condition that every server knows."""
        self.renew()
        store.delete(self._folder, [self._name])

    def _put(self, mode: Any) -> bool:
        """Write on condition; remembers the version. False where the condition was not met."""
        content = json.dumps(self._me).encode()
        try:
            written = self._patiently(lambda opened: obstore.put(opened, self._name, content, mode=mode))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return False
        self._etag = written["e_tag"] or ""
        return True

    def _find(self) -> _StoredLease | None:
        def get(opened: ObjectStore) -> _StoredLease:
            got = obstore.get(opened, self._name)
            return _StoredLease(_owner(bytes(got.bytes())), got.meta["e_tag"] or "", got.meta["last_modified"])

        try:
            return self._patiently(get)
        except FileNotFoundError:
            return None

    def _life(self, stored: _StoredLease) -> str:
        """What speaks for the owner being alive; nothing if it is dead."""
        if stored.owner.machine and stored.owner.machine == self._me["machine"]:
            return "it still runs" if _began(stored.owner.pid) == stored.owner.began else ""
        probe = f"{self._me['run']}/clock"
        store.write(f"{self._folder}/{probe}", b"now")
        now = self._patiently(lambda opened: obstore.head(opened, probe)["last_modified"])
        silent_s = (now - stored.written).total_seconds()
        store.delete(self._folder, [probe])
        reason = (
            f"heard of {max(silent_s, 0):.0f} s ago; if it is dead, run again when it was silent for {SILENT_S:.0f} s"
        )
        return reason if silent_s <= SILENT_S else ""

    def _patiently(self, call: Callable[[ObjectStore], _T]) -> _T:
        return store.patiently(self._folder, call)


def _refusal(output: str, owner: Owner, reason: str) -> RunError:
    return RunError(f"--output {output} belongs to {owner}, {reason}; wait for its end, or choose another output")


def _owner(content: bytes) -> Owner:
    """Who wrote this; a file that is just being written names nobody."""
    try:
        return Owner(**json.loads(content))
    except (ValueError, TypeError):
        return Owner(NOBODY)


def this_process(run: str) -> Owner:
    """The owner that this process is, as the driver of the run."""
    pid = os.getpid()
    return Owner(run, _user(), socket.gethostname(), pid, _machine(), _began(pid))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's number without a name
        return str(os.getuid())


def _machine() -> str:
    """Containers share the kernel's boot and often a name, but not the table of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> str:
    """When the process began, or nothing if none of that number lives (proc(5): fields 3 and 22, after the name)."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
