"""An output and the processes that write to it, which die or pause at any call that changes it.

A run here is the real one's order of calls on the store, `stages` without Spark: the images are rows of JSON. The store
is a folder or, in memory, a bucket whose owners are on machines that know nothing of each other.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any, Self

import obstore
import pytest
from obstore.store import MemoryStore

from pipeline import feature_cache, lease, patience, publication, results, store
from pipeline.feature_cache import CachedFeatures
from pipeline.settings import RunError

PUT, GET, HEAD, COPY, DELETE, LIST = obstore.put, obstore.get, obstore.head, obstore.copy, obstore.delete, obstore.list
UNLINK, RMTREE = Path.unlink, shutil.rmtree


class DiedError(BaseException):
    """The process is gone: nothing of it runs any more, not even what cleans up."""


class Process:
    """A run's process, which works only while it is let: it stops, or dies, before a call that changes the store."""

    def __init__(self, world: World, action: Callable[[], str], *, dies_at: int | None = None) -> None:
        """`action` gives how it ended; `dies_at` counts its calls."""
        self._world, self._action, self._dies_at = world, action, dies_at
        self._calls, self._left = 0, 0.0
        self._may_go, self._stands = Semaphore(0), Semaphore(0)
        self._error: BaseException | None = None
        self.outcome = ""
        Thread(target=self._work, daemon=True).start()

    def go(self, calls: float = math.inf) -> str:
        """Let it make so many calls more; how it ended, or nothing yet."""
        if not self.outcome:
            self._left, self._world.process = calls, self
            self._may_go.release()
            self._stands.acquire()
        if self._error:
            raise self._error
        return self.outcome

    def step(self, *, is_at_once: bool) -> None:
        """Called before each call that changes the store."""
        self._calls += 1
        if self.outcome or self._calls == self._dies_at:
            self.outcome = "died"
            raise DiedError
        self._left -= 1
        if self._left < 0 and not is_at_once:
            self._stands.release()
            self._may_go.acquire()

    def _work(self) -> None:
        self._may_go.acquire()
        try:
            self.outcome = self._action()
        except DiedError:
            pass
        except BaseException as error:  # noqa: BLE001 - whoever lets it go gets it
            self.outcome, self._error = "broken", error
        self._stands.release()


class InTurn:
    """An executor that does one thing after the other."""

    def __init__(self, _: int) -> None:
        """Of any number of threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to wait for."""

    map = staticmethod(map)


class World:
    """The store, and whose calls it gets: a folder by its path, or a bucket in memory.

    Attributes:
        output: where runs write.
        process: who works now.
        is_heard: whether owners of a bucket's lease are heard of; else each is taken for dead.
    """

    def __init__(self, output: str) -> None:
        self.output = output
        self.is_heard = False
        self.process: Process | None = None
        self._memory = MemoryStore()

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Put itself between the job and its store."""
        patch.setattr(publication, "ThreadPoolExecutor", InTurn)
        patch.setattr(lease._Lease, "_life", lambda *_: "it was heard of" if self.is_heard else "")
        for owner, name in ((Path, "unlink"), (Path, "rmdir"), (os, "write")):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))
        patch.setattr(shutil, "rmtree", self._remove_bit_by_bit)
        if not self.output.startswith("s3://"):
            for name in ("put", "rename"):
                patch.setattr(obstore, name, self._counted(getattr(obstore, name)))
            return
        patch.setattr(store, "open_store", lambda uri, **_: uri.removeprefix("s3://bucket/"))
        patch.setattr(patience, "pages", self._list)
        for name in ("put", "get", "head", "copy", "delete"):
            patch.setattr(obstore, name, getattr(self, f"_{name}"))

    def _step(self, *, is_at_once: bool = False) -> None:
        if self.process:
            self.process.step(is_at_once=is_at_once)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._step()
            return real(*args, **kwargs)

        return call

    def _remove_bit_by_bit(self, folder: Path) -> None:
        """A folder goes file by file, and whoever removes it may die between two."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._step()
                UNLINK(path)
        self._step()
        RMTREE(folder)

    # An owner may sleep at any call but between the confirmation of its lease and the one call that follows: not every
    # S3 has a delete on condition. So what follows at once is no place to stop.

    def _put(self, folder: str, path: str, content: Any, **kwargs: Any) -> Any:
        self._step(is_at_once=path in (publication.PLAN, results.RUN))
        return PUT(self._memory, f"{folder}/{path}", content, **kwargs)

    def _get(self, folder: str, path: str, **_: object) -> Any:
        return GET(self._memory, f"{folder}/{path}")

    def _head(self, folder: str, path: str) -> Any:
        return HEAD(self._memory, f"{folder}/{path}")

    def _copy(self, folder: str, source: str, target: str) -> None:
        self._step()
        COPY(self._memory, f"{folder}/{source}", f"{folder}/{target}")

    def _delete(self, folder: str, names: list[str]) -> None:
        for name in names:
            self._step(is_at_once=True)
            DELETE(self._memory, f"{folder}/{name}")

    def _list(self, folder: str, **_: object) -> list[list[dict[str, Any]]]:
        chunks = LIST(self._memory, folder)
        return [[{**entry, "path": entry["path"].removeprefix(f"{folder}/")} for entry in chunk] for chunk in chunks]

    # What follows is done by others than runs, and counted nowhere.

    def tree(self) -> dict[str, bytes]:
        """All that is in the output."""
        if not self.output.startswith("s3://"):
            paths = [path for path in Path(self.output).rglob("*") if path.is_file()]
            return {path.relative_to(self.output).as_posix(): path.read_bytes() for path in paths}
        names = [entry["path"] for chunk in self._list(self._prefix) for entry in chunk]
        return {name: bytes(self._get(self._prefix, name).bytes()) for name in names}

    def put(self, name: str, content: bytes) -> None:
        """Put a file, in the place of what was there."""
        if self.output.startswith("s3://"):
            PUT(self._memory, f"{self._prefix}/{name}", content)
            return
        path = Path(self.output, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def take_away(self, name: str) -> None:
        """Remove a file."""
        if self.output.startswith("s3://"):
            DELETE(self._memory, f"{self._prefix}/{name}")
        else:
            UNLINK(Path(self.output, name))

    @property
    def _prefix(self) -> str:
        return self.output.removeprefix("s3://bucket/")


@dataclass(frozen=True)
class Source:
    """An input: etag by path; `name` is the class of those without a folder; `key` is the model's."""

    name: str
    etags: dict[str, int]
    key: str

    def label(self, path: str) -> str:
        return path.rpartition("/")[0] or self.name

    def rows(self) -> dict[str, list[Any]]:
        return {path: [etag, self.label(path)] for path, etag in self.etags.items()}

    def asked(self) -> dict[str, Any]:
        return {"rows": self.rows(), "key": self.key}


def run(world: World, name: str, source: Source) -> dict[str, Any]:
    """`stages.run` without Spark."""
    output = world.output
    if not lease.is_claimed(output):
        publication.examine(output)
    with lease.hold(output, name) as confirm:
        standing = publication.begin(output, confirm=confirm)
        work = results.workspace(output, name)
        store.write(f"{results.listing(work)}/00000.parquet", b"listing")
        if standing.run and standing.is_intact() and standing.run["asked"] == source.asked():
            confirm()
            publication.discard(output)
            return standing.run
        prefix = f"{source.key}-{name}-"
        confirm()
        found = find_known(output, source, published=set(standing.features()), prefix=prefix)
        prepared = f"{results.staging(output)}/{results.FEATURES}"
        todo = sorted(set(source.rows()) - set(found.todo))
        for number, path in enumerate(todo):
            store.write(f"{prepared}/{prefix}{number:05d}.parquet", json.dumps({path: source.rows()[path]}).encode())
        store.write(f"{work}/rejected/part-{name}.parquet", b"none")
        confirm()
        store.delete(prepared, found.replaced)
        counted = feature_cache.feature_files(output, found, published=standing.features(), prefix=prefix)
        rows = [row for file in counted for row in json.loads(store.read(file)).items()]
        if len(rows) != len(source.rows()):
            raise RunError(f"{len(source.rows())} images were listed, but {len(rows)} have features; run again")
        for document in ("labels.json", "report.html", "model/pca/data/x", "model/pca/metadata/_SUCCESS"):
            store.write(f"{work}/{document}", f"{document} of {name}".encode())
        sizes = {file.rpartition("/")[2]: size for file, size in counted.items()}
        record = {"run": name, "asked": source.asked()}
        return publication.publish(output, record, features=sizes, confirm=confirm)


def find_known(output: str, source: Source, *, published: set[str], prefix: str) -> Any:
    """`feature_cache.look_up` on rows of JSON; `todo` holds the paths that are known."""
    place, prepared = f"{output}/{results.FEATURES}", f"{results.staging(output)}/{results.FEATURES}"
    places = dict.fromkeys(published, place) | dict.fromkeys(results.parquet_files(prepared), prepared)
    foreign = [name for name, folder in places.items() if folder == prepared and not name.startswith(source.key)]
    store.delete(prepared, foreign)
    places = {name: folder for name, folder in places.items() if name.startswith(source.key)}
    chosen: dict[str, str] = {}
    whole, listed = set(), source.rows()
    for name, folder in sorted(places.items()):
        rows = json.loads(store.read(f"{folder}/{name}"))
        held = {path for path, (etag, _) in rows.items() if path in listed and listed[path][0] == etag} - set(chosen)
        chosen |= dict.fromkeys(held, name)
        if held == set(rows) and all(rows[path] == listed[path] for path in held):
            whole.add(name)
        elif held:
            digest = blake2b(name.encode(), digest_size=6).hexdigest()
            good = {path: listed[path] for path in sorted(held)}
            store.write(f"{prepared}/{prefix}{digest}.parquet", json.dumps(good).encode())
    return CachedFeatures(
        len(chosen),
        sorted(name for name in whole if places[name] == place),
        sorted(name for name in whole if places[name] == prepared),
        chosen,  # type: ignore[arg-type] # files that list those that are not
        [name for name, folder in places.items() if folder == prepared and name not in whole],
    )
