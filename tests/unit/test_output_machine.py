"""Hypothesis draws histories of an output: runs that begin, die at any call, overtake each other and publish; inputs
that change; files of the user's in between. What must hold after each step stands in the invariants."""

from __future__ import annotations

import json
import shutil
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline import publication, store
from pipeline.settings import RunError, UsageError
from tests.unit.output_world import Process, Source, World, run

KEYS = ("0" * 16, "1" * 16)
PATHS = ("a.jpg", "b.jpg", "c.jpg", "Kiwi/d.jpg", "Lemon/e.jpg")
# Under the contract's names, in the way; the last two are ours, edited.
IN_THE_WAY = ("model/weights.bin", "features/mine.parquet", "_incomplete/notes.txt", "report.html", "labels.json")
BESIDE = ("notes.txt", "features/.DS_Store", "models/weights.bin")
CALLS = st.integers(1, 45)


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

    @staticmethod
    def name(number: int) -> str:
        """Of a run; backwards, so that no order of names is the order of runs."""
        return f"{-number * 7919 % 2**32:08x}"

    def is_in_the_way(self) -> bool:
        return any(name in IN_THE_WAY for name in self.mine)

    def start(self, *, dies_at: int | None = None) -> Process:
        """A run's process, which has done nothing yet."""
        self.runs += 1
        name = self.name(self.runs)

        def action() -> str:
            was_in_the_way, before = self.is_in_the_way(), self.without_owner()
            try:
                record = run(self.world, name, self.source)
            except UsageError:
                assert self.is_in_the_way(), "nobody is refused for what runs left"
                assert not was_in_the_way or self.without_owner() == before, "before anything is written"
                return "refused"
            except (RunError, *store.STORE_ERRORS):
                return "failed"
            assert not was_in_the_way
            assert record["asked"] == self.source.asked()
            return "done"

        return Process(self.world, action, dies_at=dies_at)

    def without_owner(self) -> dict[str, bytes]:
        """All but what says whose the output is, which a dead run leaves and the next one removes."""
        there = self.world.tree()
        there.pop(f"_incomplete/{publication.OWNER}", None)
        return there

    def check_complete(self, *, may_leave: bool) -> None:
        """The output is what one undisturbed run gives, beside what is the user's, and what others still prepare."""
        there = self.world.tree()
        record = json.loads(there.pop("run.json"))
        left = {name for name in there if name.startswith("_incomplete/") and may_leave}
        assert set(there) - set(self.mine) - left == set(record["files"])
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

    def check_outcome(self, outcome: str, *, may_leave: bool = False) -> None:
        assert outcome == ("refused" if self.is_in_the_way() else "done")
        if outcome == "done":
            self.check_complete(may_leave=may_leave)

    @rule()
    def run_undisturbed(self):
        self.check_outcome(self.start().go())

    @rule(at=CALLS, is_lost=st.booleans(), data=st.data())
    def run_and_die(self, at, is_lost, data):
        """And what it prepared may be lost afterwards, but for the plan, which alone says what in place is a run's."""
        self.start(dies_at=at).go()
        names = [name for name in sorted(self.world.tree()) if name.startswith("_incomplete/")]
        names = [name for name in names if not name.endswith((publication.PLAN, publication.OWNER))]
        if is_lost and names:
            self.world.take_away(data.draw(st.sampled_from(names)))

    @rule(at=CALLS)
    def run_beside_a_second(self, at):
        """The second comes while the first works, which is heard of: it is refused, and the first does not notice."""
        first = self.start()
        first.go(at)
        before = self.world.tree()
        if any(name.startswith(f"_incomplete/{self.name(self.runs)}/") for name in before):
            self.world.is_heard = True
            assert self.start().go() == ("refused" if self.is_in_the_way() else "failed")
            self.world.is_heard = False
            assert self.world.tree() == before
        self.check_outcome(first.go())

    @rule(at=CALLS, name=st.sampled_from(["model/weights.bin", "features/mine.parquet", "notes.txt"]))
    def run_while_the_user_puts_a_file(self, at, name):
        process = self.start()
        process.go(at)
        self.user_puts(name)
        process.go()
        self.user_moves_away(name)

    @rule(at=CALLS)
    def run_while_a_dead_ones_worker_writes(self, at):
        """A worker may outlive its driver: what it still makes is not mixed with what another run counted."""
        process = self.start()
        process.go(at)
        rows = json.dumps(self.source.rows()).encode()
        self.runs += 1  # the dead one
        self.world.put(f"_incomplete/features/{self.source.key}-{self.name(self.runs)}-00000.parquet", rows)
        self.check_outcome(process.go(), may_leave=True)

    @rule(name=st.sampled_from(IN_THE_WAY))
    def run_with_a_file_in_the_way(self, name):
        self.user_puts(name)
        self.what_is_the_users_stays()
        assert self.start().go() == "refused"
        self.what_is_the_users_stays()
        self.user_moves_away(name)

    @rule(name=st.sampled_from(BESIDE))
    def user_puts(self, name):
        self.mine[name] = f"precious: {name} of the user's own".encode()
        self.world.put(name, self.mine[name])

    def user_moves_away(self, name: str) -> None:
        self.what_is_the_users_stays()
        del self.mine[name]
        self.world.take_away(name)

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

    @rule(first=st.integers(1, 25), second=st.integers(1, 25), dies_at=st.none() | CALLS)
    def run_and_be_overtaken(self, first, second, dies_at):
        """The owner wakes while its successor works, or has died: it stops, and the successor does not notice."""
        sleeper, successor = self.start(), self.start(dies_at=dies_at)
        sleeper.go(first)
        was_publishing = f"_incomplete/{publication.PLAN}" in self.world.tree()
        successor.go(second)
        sleeper.go()
        outcome = successor.go()
        if outcome == "died":
            return
        if outcome == "failed":  # the two finished one publication together, and one found nothing left to move
            assert was_publishing
            outcome = self.start().go()
        self.check_outcome(outcome, may_leave=True)


QUICK = settings(max_examples=120, stateful_step_count=20, deadline=None, derandomize=True, database=None)
TestFolder, TestBucket = Outputs.TestCase, BucketOutputs.TestCase
TestFolder.settings = TestBucket.settings = QUICK
