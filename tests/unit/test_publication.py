"""What a publication replaces and removes, and what it leaves alone: on folders, without Spark."""

import json
import os
import shutil
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from pipeline import publication, results, store
from pipeline.settings import RunError, UsageError

KEY = "0123456789abcdef"
ONE, TWO = "11111111", "22222222"
FIRST = ("labels.json", "model/pca/data/x", "report.html")
SECOND = ("labels.json", "rejected/r.parquet", "report.html")


def confirm():
    """The output is still this run's."""


def begin(output):
    return publication.begin(output, confirm=confirm)


def feature(run, part):
    return f"{KEY}-{run}-{part}.parquet"


def prepare(output, *, run, parts, features):
    """A run that is ready to be published: each file small, its content the run's name and its own."""
    for part in parts:
        store.write(f"{results.workspace(output, run)}/{part}", f"{run} {part}".encode())
    for name in features:
        store.write(f"{results.staging(output)}/features/{feature(run, name)}", f"{run} {name}".encode())
    store.write(f"{results.listing(results.workspace(output, run))}/0.parquet", b"x")


def publish(output, *, run, kept=()):
    """Publish all features that run prepared, and those of `kept`."""
    sizes = dict(store.sizes(f"{results.staging(output)}/features"))
    sizes |= {name: size for name, size in store.sizes(f"{output}/features") if name in kept}
    return publication.publish(output, {"run": run}, features=sizes, confirm=confirm)


def content(output):
    return {name: store.read(f"{output}/{name}").decode() for name, _ in store.sizes(output) if name != results.RUN}


def of(run, parts, features=()):
    return {part: f"{run} {part}" for part in parts} | {
        f"features/{feature(run, name)}": f"{run} {name}" for name in features
    }


@pytest.fixture
def output(tmp_path):
    place = str(tmp_path / "out put")
    begin(place)
    prepare(place, run=ONE, parts=FIRST, features="ab")
    publish(place, run=ONE)
    return place


def test_a_publication_puts_all_in_place_and_leaves_no_scaffold(output):
    assert content(output) == of(ONE, FIRST, "ab")
    assert set(json.loads(store.read(f"{output}/run.json"))["files"]) == set(of(ONE, FIRST, "ab"))


def test_the_next_run_replaces_the_last_but_for_what_is_kept(output):
    mine = {"notes.txt": "mine", "features/.DS_Store": "mine", "models/weights.bin": "mine", "Report.html": "mine"}
    for name, text in mine.items():
        store.write(f"{output}/{name}", text.encode())
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    publish(output, run=TWO, kept=[feature(ONE, "b")])
    assert content(output) == of(TWO, SECOND, "c") | of(ONE, (), "b") | mine
    assert not Path(output, "model").exists(), "no empty folder is left of it"


@pytest.mark.parametrize("name", ["model/weights.bin", "report.html", "features/mine.parquet", "_incomplete/notes.txt"])
@pytest.mark.parametrize("has_run", [False, True])
def test_what_no_run_recorded_is_refused_and_stays(tmp_path, output, name, has_run):
    if not has_run:
        output = str(tmp_path / "mine")
    store.write(f"{output}/{name}", b"precious")
    before = content(output)
    for attempt in (publication.examine, begin):
        with pytest.raises(UsageError) as refused:
            attempt(output)
        assert str(refused.value).startswith(f"--output {output} holds {name}, ")
        assert str(refused.value).endswith("move it away, or choose another output")
    assert content(output) == before


@pytest.mark.parametrize("link", ["model", "model/pca", "features/a.parquet", "_incomplete", "run.json", "labels.json"])
@pytest.mark.parametrize("is_broken", [False, True])
def test_links_are_refused_and_what_they_lead_to_stays(tmp_path, output, link, is_broken):
    precious = tmp_path / "precious"
    if not is_broken:
        shutil.copytree(Path(output, "model"), precious)
    path = Path(output, link)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(precious)
    for attempt in (publication.examine, begin):
        with pytest.raises(UsageError, match=f"--output {output}: {link} is a symbolic link"):
            attempt(output)
    if not is_broken:
        assert (precious / "pca" / "data" / "x").read_text() == f"{ONE} model/pca/data/x"


def test_what_comes_while_a_run_works_is_refused_at_its_end_and_stays(output):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    store.write(f"{output}/rejected/r.parquet", b"mine, meanwhile")
    before = content(output)
    with pytest.raises(UsageError, match=r"holds rejected/r\.parquet, which no run wrote"):
        publish(output, run=TWO)
    assert content(output) == before
    Path(output, "rejected", "r.parquet").unlink()
    publish(output, run=TWO)
    assert content(output) == of(TWO, SECOND, "c")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[1, 2]",
        b'{"run": "mine"}',
        b'{"run": "11111111"}',
        b'{"run": "11111111", "files": ["labels.json"]}',
        b'{"run": "11111111", "files": {"../precious": 8}}',
        b'{"run": "11111111", "files": {"model/../../precious": 8}}',
        b'{"run": "11111111", "files": {"precious": 8}}',
        b'{"run": "11111111", "files": {"labels.json": "8"}}',
    ],
)
def test_a_run_json_that_is_no_record_is_refused_in_one_line(output, tmp_path, document):
    (tmp_path / "precious").write_bytes(b"precious")
    Path(output, "precious").write_bytes(b"precious")
    Path(output, "run.json").write_bytes(document)
    before = content(output)
    with pytest.raises(UsageError, match=r"holds run\.json, damaged, or no run's record") as refused:
        begin(output)
    assert "\n" not in str(refused.value)
    assert content(output) == before
    assert (tmp_path / "precious").exists()


def test_a_result_that_was_edited_is_the_users_and_a_lost_one_is_made_anew(output):
    store.write(f"{output}/report.html", b"my remarks")
    with pytest.raises(UsageError, match=r"holds report\.html, changed since a run wrote it"):
        begin(output)
    Path(output, "report.html").unlink()
    assert not begin(output).is_intact()


def dying(monkeypatch, allowed):
    """From call `allowed` on that would change the store, the process is gone."""
    calls = 0

    def counted(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > allowed:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(obstore, "put", counted(obstore.put))
    monkeypatch.setattr(obstore, "rename", counted(obstore.rename))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))


@pytest.mark.parametrize("allowed", range(22))
def test_a_publication_cut_off_anywhere_is_never_a_mixture_and_is_finished_by_the_next_run(
    output, allowed, monkeypatch
):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    with monkeypatch.context() as patch:
        dying(patch, allowed)
        died = False
        try:
            publish(output, run=TWO, kept=[feature(ONE, "b")])
        except KeyboardInterrupt:
            died = True
    there = content(output)
    standing = publication.examine(output)
    if standing.run is not None:
        assert standing.is_intact()
        assert {there[name].split()[0] for name in standing.run["files"] if "b.parquet" not in name} == {
            standing.run["run"]
        }, "whoever finds a run.json finds the files of that one run"
    planned = "_incomplete/publish.json" in there
    final = begin(output)
    assert final.run is not None
    assert final.run["run"] == (TWO if planned or not died else (standing.run or {}).get("run"))
    assert final.is_intact()
    assert died == (allowed < 15), "a publication is cut off at each of its calls"


def test_a_run_killed_as_it_wrote_its_plan_is_no_stranger(output):
    half = Path(output, "_incomplete", "publish.json#1")  # as the store calls a file until it is whole
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b'{"run": {')
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    publish(output, run=TWO)
    assert content(output) == of(TWO, SECOND, "c")
    assert not half.exists()


def test_a_folder_without_hard_links_gets_its_results(output, monkeypatch):
    real = obstore.put

    def put(*args, mode="overwrite", **kwargs):
        if mode == "create":  # what link(2) says on exFAT
            raise GenericError(
                "Generic LocalFileSystem error: Unable to rename file: Operation not permitted (os error 1)"
            )
        return real(*args, mode=mode, **kwargs)

    monkeypatch.setattr(obstore, "put", put)
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    publish(output, run=TWO)
    assert content(output) == of(TWO, SECOND, "c")
    assert begin(output).is_intact()


def cut_off(output, monkeypatch, allowed):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    with monkeypatch.context() as patch:
        dying(patch, allowed)
        with pytest.raises(KeyboardInterrupt):
            publish(output, run=TWO, kept=[feature(ONE, "b")])


@pytest.mark.parametrize("allowed", range(1, 8))
@pytest.mark.parametrize("lost", ["report.html", "labels.json"])
def test_a_plan_whose_files_are_gone_is_not_carried_out(output, monkeypatch, allowed, lost):
    cut_off(output, monkeypatch, allowed)
    before = content(output)
    source = f"_incomplete/{TWO}/{lost}"
    if source not in before:
        return  # it is in place already
    Path(output, source).unlink()
    standing = begin(output)
    kept = {name: text for name, text in before.items() if not name.startswith("_incomplete/")}
    assert {name: text for name, text in content(output).items() if not name.startswith("_incomplete/")} == kept
    assert (standing.run is None) == (allowed > 1), "a run that was complete stands, if nothing of it was removed"
    prepare(output, run="33333333", parts=SECOND, features="d")
    publish(output, run="33333333", kept=standing.features())
    assert content(output).items() >= (of("33333333", SECOND, "d") | of(TWO, (), "c") | of(ONE, (), "b")).items()


@pytest.mark.parametrize(
    "document", [b"{", b"[]", b'{"run": {"run": "11111111", "files": {"../x": 1}}, "replaces": {}}']
)
def test_a_plan_that_is_none_is_dropped(output, document):
    store.write(f"{output}/_incomplete/publish.json", document)
    assert begin(output).is_intact()
    assert content(output) == of(ONE, FIRST, "ab")


def test_a_run_that_prepares_touches_nothing_of_the_last(output):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    assert publication.examine(output).is_intact()


def test_features_of_a_killed_run_are_left_for_the_next_and_the_rest_is_not(output):
    prepare(output, run=TWO, parts=SECOND, features="c")
    begin(output)
    assert [name for name, _ in store.sizes(results.staging(output))] == [f"features/{feature(TWO, 'c')}"]


def test_what_was_counted_is_what_is_published(output):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    counted = dict(store.sizes(f"{results.staging(output)}/features"))
    prepare(output, run="33333333", parts=["metrics.json"], features="x")  # another writer's, meanwhile
    publication.publish(output, {"run": TWO}, features=counted, confirm=confirm)
    assert content(output) == of(TWO, SECOND, "c")
    begin(output)
    prepare(output, run="44444444", parts=SECOND, features="e")
    counted = dict(store.sizes(f"{results.staging(output)}/features"))
    os.truncate(f"{results.staging(output)}/features/{feature('44444444', 'e')}", 1)
    with pytest.raises(RunError, match="was counted and is not there any more; run again"):
        publication.publish(output, {"run": "44444444"}, features=counted, confirm=confirm)
    assert content(output).items() >= of(TWO, SECOND, "c").items()


@pytest.mark.parametrize("allowed", range(6))
def test_an_output_that_is_anothers_by_now_is_left_as_it_is(output, allowed):
    begin(output)
    prepare(output, run=TWO, parts=SECOND, features="c")
    confirmed = 0

    def confirm():
        nonlocal confirmed
        confirmed += 1
        if confirmed > allowed:
            raise RunError("another's")

    counted = dict(store.sizes(f"{results.staging(output)}/features"))
    with pytest.raises(RunError, match="another's") if allowed < 5 else pytest.MonkeyPatch.context():
        publication.publish(output, {"run": TWO}, features=counted, confirm=confirm)
    if allowed < 2:
        assert content(output).items() >= of(ONE, FIRST, "ab").items()
        assert publication.examine(output).is_intact()
    assert begin(output).is_intact()
