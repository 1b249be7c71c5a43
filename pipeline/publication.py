"""How a run's results take the place of the last one's, and of nothing else.

A run prepares its results in `_incomplete/`: the features in `features/`, the rest in its own workspace. When all are
there and counted, `publish` writes a plan, removes the old run.json and what else the last run left, moves the files
into place and puts the new run.json last. Whoever finds a run.json finds the files of that one run; a run that dies
half way through is finished by the next from the plan.

What is replaced or removed is what a run.json or a plan names, with the size that stands there. Under the same names
anything else is the user's: the output is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from obstore.exceptions import AlreadyExistsError

from pipeline import store
from pipeline.results import CONTRACT, FEATURES, INCOMPLETE, RUN, is_result, staging
from pipeline.settings import RunError, UsageError

OWNER = "owner.json"
PLAN = "publish.json"
TRIES = 5  # to put run.json where S3 is still busy with it
# What a run leaves in `_incomplete/`: features by key, run and task, a workspace by the run's name, and two documents,
# of which a run that was killed as it wrote the plan leaves another with a number.
_WORKSPACE = "[0-9a-f]{8}"
_PLANS = rf"{PLAN}(#\d+)?"
_PREPARED = re.compile(rf"{FEATURES}/[0-9a-f]{{16}}-{_WORKSPACE}-[^/]+|{_WORKSPACE}/.+|{OWNER}|{_PLANS}", re.DOTALL)
_NAMES = (*CONTRACT, INCOMPLETE)

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A publication that was begun.

    Attributes:
        run: what becomes run.json; `files` has name and size in bytes of every result.
        replaces: name and size of the results of earlier runs that stood there before.
        is_cleared: those are gone but for what stays, so that what is in place now is of this run.
    """

    run: Record
    replaces: Mapping[str, int]
    is_cleared: bool = False

    def source(self, name: str) -> str:
        """Where the result `name` was prepared, below the output."""
        return f"{INCOMPLETE}/{name}" if _is_feature(name) else f"{INCOMPLETE}/{self.run['run']}/{name}"

    def stays(self, name: str, size: int, there: Mapping[str, int]) -> bool:
        """Whether this is a feature file of an earlier run that is this run's, too."""
        listed = self.run["files"].get(name) == self.replaces.get(name) == size
        return listed and _is_feature(name) and self.source(name) not in there

    def missing(self, there: Mapping[str, int]) -> list[str]:
        """Files of the run that are neither prepared nor in place with their size, as far as that can be told."""
        return [
            name
            for name, size in self.run["files"].items()
            if there.get(self.source(name)) != size
            and not (there.get(name) == size and (self.is_cleared or self.stays(name, size, there)))
        ]


@dataclass(frozen=True)
class Standing:
    """What an output holds of earlier runs.

    Attributes:
        run: the record of the last complete run, or None.
        plan: a publication that was cut off, or None.
        there: name and size in bytes of all that lies under the contract's names, `_incomplete/` among them.
        results: those that runs recorded, with that size.
    """

    run: Record | None
    plan: Plan | None
    there: Mapping[str, int]
    results: Mapping[str, int]

    def features(self) -> dict[str, int]:
        """Name below features/ and size of the feature files in place."""
        return {name.partition("/")[2]: size for name, size in self.results.items() if _is_feature(name)}

    def is_intact(self) -> bool:
        """Whether there is a complete run, and every file of it."""
        return self.run is not None and all(self.results.get(name) == n for name, n in self.run["files"].items())


def examine(output: str) -> Standing:
    """What an output holds; writes nothing.

    Raises:
        UsageError: something there is no run's: to write here would replace it, or mix with it.
        STORE_ERRORS: the output cannot be read.
    """
    for link in store.links(output, _NAMES):
        raise UsageError(
            f"--output {output}: {link} is a symbolic link, and what it leads to would be replaced; "
            "remove the link, or choose another output"
        )
    there = store.below(output, _NAMES)
    run = _as_record(_document(output, RUN, there))
    plan = _as_plan(_document(output, f"{INCOMPLETE}/{PLAN}", there))
    recorded = set((run["files"] if run else {}).items())
    if plan:
        recorded |= {*plan.run["files"].items(), *plan.replaces.items()}
    results = {name: size for name, size in there.items() if (name, size) in recorded}
    # On S3 nothing tells an empty object from the mark of a folder, which anybody's console makes.
    marks = {name for name, size in there.items() if not size and output.startswith("s3://")}
    ours = results.keys() | marks | ({RUN} if run else set())
    for name in sorted(there.keys() - ours, key=lambda name: (name != RUN, name)):
        if not _is_harmless(name):
            what = "damaged, or no run's record" if name == RUN else _whose(name, recorded)
            raise UsageError(
                f"--output {output} holds {name}, {what}: it would be replaced or mixed with results; "
                "move it away, or choose another output"
            )
    return Standing(run, plan, there, results)


def begin(output: str, *, confirm: Callable[[], None]) -> Standing:
    """Make the output ready for the run that owns it: finish a publication that was cut off, clear what others left.

    Features in preparation stay, for this run to use. A plan whose files are not all there any more is not carried out:
    what stands is left as it is, and the plan, too, where it alone says which files are a run's.

    Args:
        output: the location.
        confirm: raises unless the output is still this run's; called before each step that cannot be taken back.

    Raises:
        RunError: the output is another's by now.
        UsageError: something there is no run's.
        STORE_ERRORS: the output cannot be written.
    """
    standing = examine(output)
    if standing.plan and not standing.plan.missing(standing.there):
        _carry_out(output, standing.plan, standing.there, confirm=confirm)
        standing = examine(output)
    confirm()
    store.clear(staging(output), _WORKSPACE if standing.run is None else rf"{_WORKSPACE}|{PLAN}")
    return standing


def publish(output: str, run: Record, *, features: Mapping[str, int], confirm: Callable[[], None]) -> Record:
    """Put what the run prepared in the place of the last run's results, `run` as run.json last.

    Args:
        output: the location.
        run: the record of the run; gets `files`, name and size in bytes of every result.
        features: name below features/ and size of the files that were counted, in place or in preparation.
        confirm: raises unless the output is still this run's; called before each step that cannot be taken back.

    Raises:
        RunError: the output is another's by now, or what was counted is not there any more.
        UsageError: something that is no run's has come meanwhile.
        STORE_ERRORS: something cannot be written; the next run finishes it.
    """
    standing = examine(output)
    own = f"{INCOMPLETE}/{run['run']}/"
    names = {name.removeprefix(own): size for name, size in standing.there.items() if name.startswith(own)}
    # No result is empty: what is, marks a folder on S3 or an end.
    prepared = {name: size for name, size in names.items() if size and _in_contract(name) and is_result(name)}
    counted = {f"{FEATURES}/{name}": size for name, size in features.items()}
    run["files"] = dict(sorted((prepared | counted).items()))
    plan = Plan(run, standing.results)
    if missing := plan.missing(standing.there):
        raise RunError(f"{output}: {missing[0]} was counted and is not there any more; run again")
    confirm()
    store.write_json(f"{staging(output)}/{PLAN}", vars(plan))
    _carry_out(output, plan, standing.there, confirm=confirm)
    return run


def discard(output: str) -> None:
    """Remove all that runs prepared. Who owns the output still does."""
    store.clear(staging(output), rf"{_WORKSPACE}|{FEATURES}|{_PLANS}")


def _carry_out(output: str, plan: Plan, there: Mapping[str, int], *, confirm: Callable[[], None]) -> None:
    """Each step may be repeated: it does what is left to do."""
    confirm()
    if RUN in there:
        store.delete(output, [RUN])
    if not plan.is_cleared:
        old = (name for name, size in plan.replaces.items() if there.get(name) == size)
        store.delete(output, [name for name in old if not plan.stays(name, plan.replaces[name], there)])
        store.write_json(f"{staging(output)}/{PLAN}", vars(replace(plan, is_cleared=True)))
    confirm()
    moves = [name for name in plan.run["files"] if plan.source(name) in there]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.rename(output, plan.source(name), name), moves))
    confirm()
    _complete(output, plan.run)
    confirm()
    discard(output)


def _complete(output: str, run: Record) -> None:
    """Put run.json where none is: one that has come meanwhile is of the run that took this one's place."""
    for _ in range(TRIES):
        try:
            store.create(f"{output}/{RUN}", store.as_json(run))
        except AlreadyExistsError:
            there = _as_record(_document(output, RUN, {RUN}))
            if there is None:  # 409: two conditional writes at once, one perhaps a try of ours whose answer was lost
                continue
            if there["run"] != run["run"]:
                break
        return
    raise RunError(f"{output}: another run has published its results; run again")


def _document(output: str, name: str, there: Container[str]) -> Any:
    """The JSON document `name`, or None where there is none or it is damaged."""
    try:
        return store.read_json(f"{output}/{name}") if name in there else None
    except (ValueError, RecursionError):  # what it holds is no JSON, or lists in lists in lists
        return None


def _as_record(document: Any) -> Record | None:
    """A run's record, whatever version wrote it: its name, and files under the contract's names alone."""
    if not isinstance(document, dict) or not re.fullmatch(r"[0-9a-f]{8}", str(document.get("run"))):
        return None
    return document if _are_results(document.get("files")) else None


def _as_plan(document: Any) -> Plan | None:
    if not isinstance(document, dict) or not _are_results(document.get("replaces")):
        return None
    run = _as_record(document.get("run"))
    return Plan(run, document["replaces"], document.get("is_cleared") is True) if run else None


def _are_results(files: Any) -> bool:
    """Whether this is name and size of files under the contract's names: one with `..` in it leads elsewhere."""
    return isinstance(files, dict) and all(
        type(size) is int and _in_contract(name) and not {"", ".", ".."} & set(name.split("/"))
        for name, size in files.items()
    )


def _in_contract(name: str) -> bool:
    return name.partition("/")[0] in CONTRACT and name != RUN


def _is_feature(name: str) -> bool:
    return name.startswith(f"{FEATURES}/")


def _is_harmless(name: str) -> bool:
    """Whether a run left it in `_incomplete/`, or it is hidden in a folder: no run reads, moves or removes that."""
    top, _, rest = name.partition("/")
    return bool(rest) and (not is_result(name) or (top == INCOMPLETE and _PREPARED.fullmatch(rest) is not None))


def _whose(name: str, recorded: set[tuple[str, int]]) -> str:
    return "changed since a run wrote it" if name in dict(recorded) else "which no run wrote"
