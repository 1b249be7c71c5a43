"""Runs that begin, die at any call, overtake each other, publish; inputs that change; the user's files in the output.

Hypothesis draws the histories. A run here is the real one's order of calls on the store, `stages` without Spark: the
images are rows of JSON. The store is a folder or, in memory, a bucket whose owners are on machines that know nothing of
each other.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import obstore
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from obstore.store import MemoryStore

from pipeline import lease, publication, results, stages, store
from pipeline.known import Known
from pipeline.settings import RunError, UsageError

KEYS = ("0" * 16, "1" * 16)
PATHS = ("a.jpg", "b.jpg", "c.jpg", "Kiwi/d.jpg", "Lemon/e.jpg")
# Under the contract's names, in the way; the last two are ours, edited.
IN_THE_WAY = ("model/weights.bin", "features/mine.parquet", "_incomplete/notes.txt", "report.html", "labels.json")
BESIDE = ("notes.txt", "features/.DS_Store", "models/weights.bin")
CALLS = st.integers(1, 45)


class Died(BaseException):
    """The process is gone: nothing of it runs any more, not even what cleans up."""


@dataclass
class Process:
    """A run's process: counts its calls that change the store, and dies or pauses before one of them."""

    dies_at: int | None = None
    pauses_at: int | None = None
    meanwhile: Callable[[], None] = lambda: None
    calls: int = 0
    is_dead: bool = False

    def step(self, *, is_at_once: bool) -> None:
        self.calls += 1
        if self.is_dead or self.calls == self.dies_at:
            self.is_dead = True
            raise Died
        if self.pauses_at is not None and self.calls >= self.pauses_at and not is_at_once:
            self.pauses_at, meanwhile = None, self.meanwhile
            meanwhile()


@dataclass
class World:
    """The store, and whose calls it gets; knows a folder by its path, a bucket by its objects in memory."""

    output: str
    memory: MemoryStore = field(default_factory=MemoryStore)
    process: Process = field(default_factory=Process)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(publication, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))  # one order of moves
        for owner, name in ((Path, "unlink"), (Path, "rmdir"), (os, "write")):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))
        patch.setattr(shutil, "rmtree", self._counted(_remove_bit_by_bit(shutil.rmtree, self)))
        if not self.output.startswith("s3://"):
            for name in ("put", "rename"):
                patch.setattr(obstore, name, self._counted(getattr(obstore, name)))
            return
        patch.setattr(lease, "_machine", lambda: "")
        patch.setattr(store, "open_store", lambda uri, **_: uri.removeprefix("s3://bucket/"))
        memory, real = self.memory, {n: getattr(obstore, n) for n in ("put", "get", "head", "delete", "copy", "list")}

        def move(folder: str, source: str, target: str) -> None:
            self._step()
            real["copy"](memory, f"{folder}/{source}", f"{folder}/{target}")
            self._step()
            real["delete"](memory, f"{folder}/{source}")

        # An owner may sleep at any call but between the confirmation of its lease and the one call that follows: not
        # every S3 has a delete on condition.
        def delete(folder: str, names: list[str]) -> None:
            for name in names:
                self._step(is_at_once=True)
                real["delete"](memory, f"{folder}/{name}")

        def entries(folder: str) -> Any:
            found = [entry for chunk in real["list"](memory, folder) for entry in chunk]
            return [[{**entry, "path": entry["path"].removeprefix(f"{folder}/")} for entry in found]]

        patch.setattr(obstore, "rename", move)
        patch.setattr(obstore, "delete", delete)
        patch.setattr(obstore, "list", entries)
        for name in ("put", "get", "head"):

            def call(folder: str, path: str, *args: Any, of: str = name, **kwargs: Any) -> Any:
                if of == "put":
                    self._step(is_at_once=path in (publication.PLAN, results.RUN))
                return real[of](memory, f"{folder}/{path}", *args, **kwargs)

            patch.setattr(obstore, name, call)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._step()
            return real(*args, **kwargs)

        return call

    def _step(self, *, is_at_once: bool = False) -> None:
        self.process.step(is_at_once=is_at_once)

    def act(self, process: Process, action: Callable[[], Any]) -> Any:
        """`action` by `process`, while what else runs waits."""
        before, self.process = self.process, process
        try:
            return action()
        finally:
            self.process = before

    def names(self) -> set[str]:
        return set(self.tree())

    def tree(self) -> dict[str, bytes]:
        """All that is in the output, by another client."""
        if self.output.startswith("s3://"):
            folder = self.output.removeprefix("s3://bucket/") + "/"
            objects = _REAL_LIST(self.memory)
            return {
                entry["path"].removeprefix(folder): bytes(_REAL_GET(self.memory, entry["path"]).bytes())
                for chunk in objects
                for entry in chunk
            }
        return {
            path.relative_to(self.output).as_posix(): path.read_bytes()
            for path in Path(self.output).rglob("*")
            if path.is_file()
        }

    def put(self, name: str, content: bytes) -> None:
        if self.output.startswith("s3://"):
            _REAL_PUT(self.memory, f"{self.output.removeprefix('s3://bucket/')}/{name}", content)
            return
        path = Path(self.output, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def take_away(self, name: str) -> None:
        if self.output.startswith("s3://"):
            _REAL_DELETE(self.memory, f"{self.output.removeprefix('s3://bucket/')}/{name}")
        else:
            _REAL_UNLINK(Path(self.output, name))


# What the tests do beside the runs is not counted.
_REAL_LIST, _REAL_GET, _REAL_PUT, _REAL_DELETE = obstore.list, obstore.get, obstore.put, obstore.delete
_REAL_UNLINK = Path.unlink


def _remove_bit_by_bit(rmtree: Callable[..., None], world: World) -> Callable[..., None]:
    """A folder goes file by file, and whoever removes it may die between two."""

    def remove(folder: Path) -> None:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                world._step()
                _REAL_UNLINK(path)
        rmtree(folder)

    return remove


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
        found = find_known(output, source, published=set(standing.features()), prefix=prefix)
        prepared = f"{results.staging(output)}/{results.FEATURES}"
        todo = sorted(set(source.rows()) - set(found.todo))
        for number, path in enumerate(todo):
            store.write(f"{prepared}/{prefix}{number:05d}.parquet", json.dumps({path: source.rows()[path]}).encode())
        store.write(f"{work}/rejected/part-{name}.parquet", b"none")
        confirm()
        store.delete(prepared, found.replaced)
        counted = stages._feature_files(output, found, published=standing.features(), prefix=prefix)
        rows = [row for file in counted for row in json.loads(store.read(file)).items()]
        if len(rows) != len(source.rows()):
            raise RunError(f"{len(source.rows())} images were listed, but {len(rows)} have features; run again")
        for document in ("labels.json", "report.html", "model/pca/data/x", "model/pca/metadata/_SUCCESS"):
            store.write(f"{work}/{document}", f"{document} of {name}".encode())
        sizes = {file.rpartition("/")[2]: size for file, size in counted.items()}
        record = {"run": name, "asked": source.asked()}
        return publication.publish(output, record, features=sizes, confirm=confirm)


def find_known(output: str, source: Source, *, published: set[str], prefix: str) -> Any:
    """`known.find` on rows of JSON; `todo` holds the paths that are known."""
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
    return Known(
        len(chosen),
        sorted(name for name in whole if places[name] == place),
        sorted(name for name in whole if places[name] == prepared),
        chosen,  # type: ignore[arg-type] # a DataFrame of those that are not
        [name for name, folder in places.items() if folder == prepared and name not in whole],
    )


class Outputs(RuleBasedStateMachine):
    """An output on a folder."""

    output = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.world = World(self.output or f"{self.folder}/out")
        self.patch = pytest.MonkeyPatch()
        self.world.patch(self.patch)
        self.source = Source("Pear", {"a.jpg": 0, "b.jpg": 0, "Kiwi/d.jpg": 0}, KEYS[0])
        self.mine: dict[str, bytes] = {}
        self.runs = 0

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def next_name(self) -> str:
        self.runs += 1
        # Backwards, so that no order of names is the order of runs.
        return f"{2**32 - self.runs * 7919 % 2**32:08x}"

    def is_in_the_way(self) -> bool:
        return any(name in IN_THE_WAY for name in self.mine)

    def attempt(self, process: Process, *, silent_s: float = 61) -> str:
        """A run to its end, whatever that is; returns which. Other owners were last heard of `silent_s` before."""
        before, in_the_way = self.world.tree(), self.is_in_the_way()
        name = self.next_name()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lease, "SILENT_S", 60 - silent_s)
                record = self.world.act(process, lambda: run(self.world, name, self.source))
        except Died:
            return "died"
        except UsageError:
            assert self.is_in_the_way(), "nobody is refused for what runs left"
            assert not in_the_way or self.world.tree() == before, "before anything is written"
            return "refused"
        except (RunError, *store.StoreError):
            return "failed"
        assert not in_the_way
        assert record["asked"] == self.source.asked()
        return "done"

    def check_complete(self) -> None:
        """The output is what one undisturbed run gives, beside what is the user's."""
        there = self.world.tree()
        record = json.loads(there.pop("run.json"))
        assert set(there) - set(self.mine) == set(record["files"])
        found = [
            row for name in record["files"] if name.startswith("features/") for row in json.loads(there[name]).items()
        ]
        assert sorted(found) == sorted(self.source.rows().items())

    @rule(path=st.sampled_from(PATHS), is_there=st.booleans())
    def change_images(self, path, is_there):
        etags = {**self.source.etags, path: self.source.etags.get(path, 0) + 1}
        if not is_there and len(etags) > 1:
            del etags[path]
        self.source = Source(self.source.name, etags, self.source.key)

    @rule(name=st.sampled_from(["Pear", "Plum"]))
    def rename_input(self, name):
        self.source = Source(name, self.source.etags, self.source.key)

    @rule(key=st.sampled_from(KEYS))
    def change_model(self, key):
        self.source = Source(self.source.name, self.source.etags, key)

    @rule()
    def run_undisturbed(self):
        outcome = self.attempt(Process())
        assert outcome == ("refused" if self.is_in_the_way() else "done")
        if outcome == "done":
            self.check_complete()

    @rule(at=CALLS)
    def run_and_die(self, at):
        self.attempt(Process(dies_at=at))

    @rule(at=CALLS)
    def run_beside_a_second(self, at):
        """The second comes while the first works, which is heard of: it is refused, and the first does not notice."""

        def second() -> None:
            is_owned = f"_incomplete/{publication.OWNER}" in self.world.names()
            before = self.world.tree()
            if is_owned and not self.is_in_the_way():
                assert self.attempt(Process(), silent_s=0) == "failed"
                assert self.world.tree() == before

        outcome = self.attempt(Process(pauses_at=at, meanwhile=second))
        assert outcome == ("refused" if self.is_in_the_way() else "done")

    @rule(at=CALLS, name=st.sampled_from(["model/weights.bin", "features/mine.parquet", "notes.txt"]))
    def run_while_the_user_puts_a_file(self, at, name):
        self.attempt(Process(pauses_at=at, meanwhile=lambda: self.user_puts(name)))

    @rule(name=st.sampled_from(IN_THE_WAY + BESIDE))
    def user_puts(self, name):
        self.mine[name] = f"precious: {name} of the user's own".encode()
        self.world.put(name, self.mine[name])

    @precondition(lambda self: self.is_in_the_way())
    @rule()
    def user_moves_away_what_is_in_the_way(self):
        for name in [name for name in self.mine if name in IN_THE_WAY]:
            del self.mine[name]
            self.world.take_away(name)

    @rule(data=st.data())
    def something_prepared_is_lost(self, data):
        names = [
            name for name in sorted(self.world.names()) if name.startswith("_incomplete/") and name not in self.mine
        ]
        names = [name for name in names if not name.endswith(publication.PLAN)]  # which alone says what is a run's
        if names:
            self.world.take_away(data.draw(st.sampled_from(names)))

    @invariant()
    def what_is_the_users_stays(self):
        there = self.world.tree()
        assert {name: there.get(name) for name in self.mine} == self.mine

    @invariant()
    def whoever_finds_a_run_json_finds_the_files_of_that_one_run(self):
        there = self.world.tree()
        if "run.json" not in there:
            return
        record = json.loads(there["run.json"])
        rows = []
        for name, size in record["files"].items():
            if name in self.mine:
                continue  # edited since
            if name not in there and name in IN_THE_WAY:
                continue  # edited, and moved away
            assert len(there[name]) == size
            if name.startswith("features/"):
                rows += json.loads(there[name]).items()
            elif not name.startswith("rejected/"):
                assert there[name] == f"{name} of {record['run']}".encode()
        assert sorted(rows) == sorted(record["asked"]["rows"].items())


class BucketOutputs(Outputs):
    """An output in a bucket: an owner that sleeps for longer than a minute is overtaken."""

    output = "s3://bucket/results/out"

    @rule(at=CALLS, dies_at=st.none() | CALLS)
    def run_and_be_overtaken(self, at, dies_at):
        outcomes = []

        def second() -> None:
            outcomes.append(self.attempt(Process(dies_at=dies_at)))

        first = self.attempt(Process(pauses_at=at, meanwhile=second))
        if self.is_in_the_way():
            return
        assert not outcomes or outcomes == ["done"] or dies_at is not None
        if outcomes == ["done"] and first != "done":
            self.only_the_second_is_there()

    def only_the_second_is_there(self) -> None:
        there = self.world.tree()
        record = json.loads(there["run.json"])
        assert {name for name in there if not name.startswith("_incomplete/")} - set(self.mine) == {
            *record["files"],
            "run.json",
        }


QUICK = settings(max_examples=60, stateful_step_count=20, deadline=None, derandomize=True, database=None)
TestFolder, TestBucket = Outputs.TestCase, BucketOutputs.TestCase
TestFolder.settings = TestBucket.settings = QUICK
