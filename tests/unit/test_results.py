import json

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import results, store


def prepare(output, *, run, parts):
    """A run that is ready to be published: each part a small file whose content names the run."""
    for part in parts:
        store.write(f"{results.staging(output)}/{part}", run.encode())
    store.write(f"{results.staging(output)}/listing/0.parquet", b"")
    return {"run": run}


FIRST = ("labels.json", "features/a.parquet", "features/b.parquet", "model/pca/data/x", "report.html")
SECOND = ("labels.json", "features/c.parquet", "rejected/r.parquet", "report.html")


def content(output):
    return {name: store.read(f"{output}/{name}").decode() for name, _ in store.sizes(output) if name != results.RUN}


@pytest.fixture
def output(tmp_path):
    place = str(tmp_path / "out put")
    results.begin(place)
    results.publish(place, prepare(place, run="one", parts=FIRST), kept=[])
    return place


def test_a_publication_puts_all_in_place_and_leaves_no_scaffold(output):
    assert content(output) == dict.fromkeys(FIRST, "one")
    assert set(json.loads(store.read(f"{output}/run.json"))["files"]) == set(FIRST)


def test_the_next_run_replaces_the_last_but_for_what_is_kept(output):
    store.write(f"{output}/notes.txt", b"mine")
    results.begin(output)
    results.publish(output, prepare(output, run="two", parts=SECOND), kept=["b.parquet"])
    expected = dict.fromkeys(SECOND, "two") | {"features/b.parquet": "one", "notes.txt": "mine"}
    assert content(output) == expected


@pytest.mark.parametrize("allowed", range(12))
def test_a_publication_cut_off_anywhere_is_never_a_mixture_and_is_finished_by_the_next_run(
    output, allowed, monkeypatch
):
    """Every call that changes the store counts; the run dies before call number `allowed`."""
    calls = 0

    def counted(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > allowed:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return call

    results.begin(output)
    record = prepare(output, run="two", parts=SECOND)
    with monkeypatch.context() as patch:
        for name in ("put", "delete", "rename"):
            patch.setattr(obstore, name, counted(getattr(obstore, name)))
        died = False
        try:
            results.publish(output, record, kept=["b.parquet"])
        except KeyboardInterrupt:
            died = True
    there = content(output)
    run = store.read_json(f"{output}/run.json")
    if run is not None:
        whose = {there[name] for name in run["files"] if name != "features/b.parquet"}
        assert whose == {run["run"]}, "whoever finds a run.json finds the files of that one run"
        assert results.is_intact(output, run)
    planned = "_incomplete/publish.json" in there
    results.begin(output)
    final = store.read_json(f"{output}/run.json")
    assert final["run"] == ("two" if planned or not died else "one")
    assert results.is_intact(output, final)


def test_a_run_that_prepares_touches_nothing_of_the_last(output):
    results.begin(output)
    prepare(output, run="two", parts=SECOND)
    assert results.is_intact(output, store.read_json(f"{output}/run.json"))
    store.write(f"{output}/features/a.parquet", b"cut")
    results.begin(output)
    assert not results.is_intact(output, store.read_json(f"{output}/run.json") | {"files": {"features/a.parquet": 999}})


def test_features_of_a_killed_run_are_left_for_the_next_and_the_rest_is_not(output):
    prepare(output, run="two", parts=SECOND)
    results.begin(output)
    left = {name for name, _ in store.sizes(results.staging(output))}
    assert left == {"features/c.parquet", "started"}


def test_vectors_and_matrix_are_each_others_inverse():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.chunked_array([results.vectors(rows)])
    assert column.to_pylist() == rows.tolist()
    np.testing.assert_array_equal(results.matrix(column), rows)
    np.testing.assert_array_equal(results.matrix(column.slice(1, 2)), rows[1:3])


def test_rows_are_counted_from_footers(tmp_path):
    for number in (0, 3, 70_000):
        pq.write_table(pa.table({"path": [str(n) for n in range(number)]}), tmp_path / f"{number}.parquet")
    assert results.count_rows([f"{tmp_path}/{name}" for name in results.parquet_files(str(tmp_path))]) == 70_003
