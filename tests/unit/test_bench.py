"""The benches' arithmetic, and that what is drawn from their figures was drawn from them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import turns
from bench.pages import peers, publish, speed
from bench.peers import parity

MACHINE = {"date": "2026-01-02", "processor": "A Processor", "cores": 2, "architecture": "x86_64",
           "vector_flags": [], "python": "3.11.7"}  # fmt: skip


def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians():
    assert turns.ratio([1, 10, 2], [3, 10, 8]) == 3
    assert turns.images_s(100, [1, 10, 2]) == 50


def test_what_larger_numbers_would_take():
    assert turns.projected_s({}, 1000) is None
    assert turns.projected_s({100: 20}, 1000) == 200, "one number alone tells no start from images"
    assert turns.projected_s({100: 20, 1100: 30}, 10_100) == pytest.approx(120)
    assert turns.projected_s({10: 19, 100: 20, 1100: 30}, 10_100) == pytest.approx(120), "the two largest count"
    assert turns.projected_s({100: 20, 1100: 18}, 10_100) == 18, "more images never take less"


@pytest.mark.parametrize(
    ("figure", "goal"),
    [
        ({"ratio": 0.9, "at_least": 0.9}, "≥ 0.9"),
        ({"ratio": 0.89, "at_least": 0.9}, "≥ 0.9: missed"),
        ({"ratio": 1.2, "at_most": 1.1}, "≤ 1.1: missed"),
        ({"at_most": 4.0}, "≤ 4 s"),
        ({"at_most": 2.0}, "≤ 2 s: missed"),
        ({"ratio": 3.0}, ""),
    ],
)
def test_a_goal_is_of_the_ratio_or_of_the_seconds(figure, goal):
    assert speed.Figure(name="a", unit="s", ours=3.0, **figure).goal() == goal


def column(images_s, *, left_out=()):
    ways = {key: {"images_s": rate, "ratio": 0.5, "seconds": []} for key, rate in images_s.items()}
    return {"machine": MACHINE, "rounds": 3, "ways": ways, "left_out_minutes": dict(left_out)}


def test_the_table_has_a_column_for_each_number_and_says_what_is_left_out():
    columns = {"20160": column({"emrlab": 500, "daft": 600}), "2016": column({"emrlab": 100}, left_out=[("ray", 21.4)])}
    table = peers.table({"columns": columns})
    assert "| way | 2,016 images | 20,160 images | goal |" in table
    assert "| emrlab | 100 | 500 |" in table
    assert "| Daft |  | 600 (0.50) |" in table
    assert "| Ray Data | left out: 21 min |  |" in table
    assert "int8" not in table, "what was measured nowhere has no row"


def test_every_way_that_is_measured_has_a_row():
    keys = {key for held in publish.load("peers")["columns"].values() for key in held["ways"]}
    assert keys <= {row.key for row in peers.ROWS}


@pytest.mark.parametrize("name", publish.PAGES)
def test_a_page_is_drawn_from_its_figures(name):
    document = publish.load(name)
    if name == "results":  # below its figures stands what follows from today's prices, too
        assert publish.page(name).read_text().startswith(speed.render(document)), "run make bench-pages"
    elif document:
        assert publish.page(name).read_text() == publish.PAGES[name](document), "run make bench-pages"


def test_the_readme_has_the_table_of_the_figures():
    text = publish.README.read_text()
    assert publish.readme(text, publish.load("peers")) == text, "run make bench-pages"
    with pytest.raises(ValueError, match="no place"):
        publish.readme("# emrlab\n", publish.load("peers"))


def features(folder, rows, paths, kind):
    folder.mkdir()
    pq.write_table(pa.table({"path": paths, "features": pa.array(rows, kind)}), folder / "a.parquet")


def test_a_way_is_held_against_ours_whatever_it_calls_the_files(tmp_path):
    rows = np.random.default_rng(1).random((3, 4), np.float32)
    features(tmp_path / "ours", rows.tolist(), ["a/1.jpg", "a/2.jpg", "b/1.jpg"], pa.list_(pa.float32()))
    named = [f"file:///photos/{path}" for path in ("b/1.jpg", "a/1.jpg", "a/2.jpg")]
    features(tmp_path / "theirs", rows[[2, 0, 1]].tolist(), named, pa.list_(pa.float64(), 4))
    ours, theirs = (parity.read(tmp_path / name, Path("/photos")) for name in ("ours", "theirs"))
    parity.check(theirs, ours, name="theirs", near=False)
    off = parity.Features(ours.paths, ours.rows + np.float32(0.01))
    parity.check(off, ours, name="off", near=True)
    with pytest.raises(RuntimeError, match="off by"):
        parity.check(off, ours, name="off", near=False)
    with pytest.raises(RuntimeError, match="cosine"):
        parity.check(parity.Features(ours.paths, ours.rows[:, ::-1]), ours, name="turned", near=True)
    with pytest.raises(RuntimeError, match="2 photographs"):
        parity.check(parity.Features(ours.paths[:2], ours.rows[:2]), ours, name="fewer", near=True)
    with pytest.raises(RuntimeError, match="off by nan"):
        parity.check(parity.Features(ours.paths, ours.rows * np.float32(np.nan)), ours, name="none", near=False)
