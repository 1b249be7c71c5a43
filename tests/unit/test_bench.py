"""The benches' arithmetic, and that what is drawn from their figures was drawn from them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import int8, job, photos, startup, turns
from bench.pages import int8 as int8_page
from bench.pages import lab, peers, publish, scale, speed
from bench.peers import __main__ as peers_bench
from bench.peers import parity
from bench.peers.ways import Way
from bench.scale import requests

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
    assert "| Daft |  | 600 (0.50) | ≥ 1 at 20,160: missed, ≥ 1.05 at 200,000 |" in table
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


def test_a_set_has_as_many_photographs_and_classes_as_it_is_to_have(tmp_path):
    copies = photos.make(tmp_path / "copies", count=500)
    assert len(list(copies.glob("*/*.jpg"))) == 500
    assert len(list(photos.make(tmp_path / "copies", count=501).glob("*/*.jpg"))) == 501, "those that are there stay"
    classes = photos.make(tmp_path / "classes", count=200, classes=81)
    assert len(list(classes.iterdir())) == 81
    assert len(list(classes.glob("*/*.jpg"))) == 200
    links = photos.link(tmp_path / "links", count=700)
    files = list(links.glob("*/*.jpg"))
    assert len(files) == 700
    assert len({file.stat().st_ino for file in files}) == len(photos.sources())


def test_predictions_agree_by_path():
    assert int8.agreement({"a": "Kiwi", "b": "Plum"}, {"b": "Plum", "a": "Pear"}) == 0.5
    with pytest.raises(ValueError, match="1 and of 2 images"):
        int8.agreement({"a": "Kiwi"}, {"a": "Kiwi", "b": "Plum"})


def test_what_comes_after_the_extraction_is_told_from_the_order_of_the_stages():
    record = {"seconds": {"list": 1.0, "extract": 2.0, "reduce": 4.0, "report": 8.0, "publish": 16.0}}
    watched = job.Watched(wall_s=40.0, driver_mib=1.0, worker_mib=1.0, elsewhere=0.0, printed="")
    ran = job.Ran(record=record, watched=watched)
    assert (ran.extract_s, ran.after_s, ran.saved_s) == (2.0, 28.0, 28.0)


def test_photographs_that_are_not_there_are_told_before_anything_is_measured(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["bench.int8", str(tmp_path / "gone")])
    with pytest.raises(SystemExit, match="2"):
        int8.main()
    assert f"PHOTOS={tmp_path / 'gone'}: no such folder; correct the path" in capsys.readouterr().err


def test_the_page_of_int8_names_the_instructions_that_it_gains_by():
    row = {"name": "drawn", "size": 224, "images": 2000, "classes": 10, "test_images": 400, "float32_accuracy": 0.99,
           "int8_accuracy": 0.98, "agreement": 0.97, "cosine_mean": 0.99, "cosine_min": 0.9}  # fmt: skip
    speeds = {"size": 224, "decode_ms": 1.0, "float32_ms": 9.0, "int8_ms": 4.0,
              "layers": {"pointwise": {"layers": 32, "float32_ms": 6.0, "int8_ms": 2.0}}}  # fmt: skip
    vnni = int8_page.render(
        {"machine": MACHINE | {"vector_flags": ["avx2", "avx512_vnni"]}, "sets": [row], "speed": [speeds]}
    )
    assert "8-bit integers: avx512_vnni." in vnni
    assert "| 224 x 224 | 1.00 | 9.00 | 4.00 | 2.25 | 2.00 |" in vnni
    assert "8-bit integers: none." in int8_page.render({"machine": MACHINE, "sets": [row], "speed": [speeds]})


def test_the_page_of_scale_tells_what_it_extrapolates():
    runs = [
        {"images": images, "photographs_mb": 1.0, "packing_s": 10.0, "input_files": 1, "input_mb": 1.0,
         "output_files": 3, "output_mb": 2.0, "wall_s": images / 100, "driver_mib": mib, "elsewhere": 0.02,
         "stages_s": {"list": 1.0, "extract": images / 200}}
        for images, mib in ((10_000, 500), (1_000_000, 600))
    ]  # fmt: skip
    listing = [{"keys": keys, "seconds": keys / 1e5, "peak_mib": 50} for keys in (1_000_000, 10_000_000)]
    known = [
        {"ids": ids, "seconds": 60 + ids / 1e5, "by_driver": ids < 2_000_000, "driver_mib": 600, "worker_mib": 300}
        for ids in (1_000_000, 10_000_000)
    ]
    page = scale.render({"machine": MACHINE, "image_size": 100, "runs": runs, "listing": listing, "known": known})
    assert "| extract | 200 (50.0 s) | 200 (5,000.0 s) |" in page
    assert "| of the cores' time taken by other processes | 2 % | 2 % |" in page
    assert "1.20 times as much at 1,000,000 images as at 10,000; the goal is ≤ 1.1: missed." in page
    assert scale.extrapolated_s(known, 100_000_000, by="ids") == pytest.approx(1060)
    assert "in 17 minutes and 100,000 requests" in page
    assert "| 1,000,000 | 70.0 | the driver | 600 MiB |  |" in page
    assert "| 10,000,000 | 160.0 | the workers | 600 MiB | 300 MiB |" in page
    assert "## Requests" not in page, "what was not counted is not told"


def test_the_page_of_scale_is_drawn_of_what_was_measured_so_far():
    listing = [{"keys": 10, "seconds": 1.0, "peak_mib": 50}]
    page = scale.render({"machine": MACHINE, "image_size": 100, "listing": listing})
    assert "| 10 | 1.0 | 10 | 50 MiB |" in page
    assert "## What is known" not in page
    assert "extrapolated" not in page


def test_the_page_of_scale_holds_requests_against_their_goals():
    document = {
        "machine": MACHINE, "image_size": 100,
        "requests": [{"images": 1000, "examples": 24, "files": {"GET": 1024, "HEAD": 0, "LIST": 2},
                      "shards": {"GET": 35, "HEAD": 1, "LIST": 1}}],
    }  # fmt: skip
    page = scale.render(document)
    assert "| files | 1.0000 | 0 | 2 | ≤ 1 GET, 0 HEAD |" in page
    assert "| shards | 0.0110 | 0.001 | 1 | ≤ 0.01 GET, 0 HEAD: missed |" in page


def test_requests_are_counted_by_their_kind():
    seen = ["GET /b/files/a.jpg", "GET /b?list-type=2&prefix=files/", "HEAD /b/files/a.jpg", "GET /b/files/b.jpg"]
    assert requests.count(seen) == {"GET": 2, "HEAD": 1, "LIST": 1}


def test_the_labs_page_has_no_row_of_what_was_not_measured_to_its_end():
    of_lab = {"extract_s": 40.0, "wall_s": None}
    pairs = [{"local": {"extract_s": 50.0, "wall_s": 60.0}, "lab": of_lab}]
    document = {"machine": MACHINE, "image_size": 100, "images": 2000, "pairs": pairs}
    assert "| extraction | 50 images/s | 40 images/s | 1.25 | ≥ 0.85 |" in lab.render(document)
    assert "whole run" not in lab.render(document)
    of_lab["wall_s"] = 80.0
    assert "| the whole run | 25 images/s | 33 images/s | 0.75 |  |" in lab.render(document)


def a_way(key, *, takes_s, rows, **about):
    """One that writes these rows as its features."""

    def run(photographs, target):
        features(target, rows, [f"{photographs}/a/1.jpg", f"{photographs}/a/2.jpg"], pa.list_(pa.float32()))
        return takes_s

    return Way(key=key, run=run, **about)


def test_a_column_has_who_is_fast_enough_and_says_how_long_the_others_would_take(tmp_path):
    rows = [[1.0, 2.0], [3.0, 4.0]]
    ways = [a_way("emrlab", takes_s=2.0, rows=rows), a_way("daft", takes_s=1.0, rows=rows),
            a_way("notebook", takes_s=9.0, rows=rows)]  # fmt: skip
    limit_s = peers_bench.LIMIT_MINUTES * 60
    earlier = {"1": column({"emrlab": 1 / limit_s, "daft": 2.0, "notebook": 1 / limit_s})}
    measured = peers_bench.measure(ways, tmp_path / "photographs", images=2, earlier=earlier, folder=tmp_path)
    assert measured["left_out_minutes"] == {"notebook": 2 * peers_bench.LIMIT_MINUTES}, "ours is never left out"
    assert measured["ways"]["daft"] == {"images_s": 2.0, "ratio": 0.5, "seconds": [1.0]}
    assert measured["ways"]["emrlab"]["ratio"] == 1.0
    assert list(tmp_path.iterdir()) == [], "what a way has written is removed once it was compared"


def test_a_way_that_does_another_job_ends_the_bench(tmp_path):
    ways = [a_way("emrlab", takes_s=2.0, rows=[[1.0, 2.0], [3.0, 4.0]]),
            a_way("daft", takes_s=1.0, rows=[[1.0, 2.0], [3.0, 4.1]])]  # fmt: skip
    with pytest.raises(RuntimeError, match="daft's features are off"):
        peers_bench.measure(ways, tmp_path / "photographs", images=2, earlier={}, folder=tmp_path)


def test_a_start_is_watched_in_the_environment_that_it_is_given():
    watched = "import os, time; print(os.environ['MARK'], time.monotonic(), time.monotonic())"
    started = startup.start([sys.executable, "-c", watched], {"MARK": "0", "PYTHONSAFEPATH": "1"})
    assert 0 < started.session_s <= started.job_s
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1: .*MARK"):
        startup.start([sys.executable, "-c", watched], {})


def test_a_watched_command_is_told_from_what_others_do():
    busy = "import time; end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    alone = job.watch([sys.executable, "-c", busy])
    with subprocess.Popen([sys.executable, "-c", busy.replace("1.5", "3")]) as other:
        beside = job.watch([sys.executable, "-c", busy])
        other.wait()
    assert 0 <= alone.elsewhere < beside.elsewhere <= 1


def test_what_a_thread_starts_is_watched():
    held = "held = bytearray(200 * 2**20); import time; time.sleep(1)"
    code = (
        "import subprocess, sys, threading\n"
        "threading.Thread(target=subprocess.run, args=([sys.executable, '-c', sys.argv[1]],)).start()"
    )
    assert job.watch([sys.executable, "-c", code, held]).worker_mib > 200
