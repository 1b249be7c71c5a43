"""When the results of the last run stand, and who is refused an output."""

from contextlib import ExitStack

import pytest

from pipeline import lease, publication, stages
from pipeline.settings import RunError, from_args

ASKED = {"listing": "1", "package": "2"}
RECORD = {
    "run": "11111111",
    "asked": ASKED,
    "settings": {"output": "/out"},
    "counts": {"listed": 2, "extracted": 2, "known": 0, "rejected": 0, "unreachable": 0, "skipped": 0},
    "skipped_names": {},
    "classes": 1,
    "components": 1,
    "variance_kept": 1.0,
    "accuracy": None,
    "test_images": 0,
    "macro_f1": None,
    "notes": ["no classifier"],
    "model": {"features": 24},
}


def stands(record):
    settings = from_args(["--input", "/in", "--output", "/out", "--model", "m.tflite"])
    return stages._stands(record, settings, asked=ASKED, listed=2)


def test_the_same_again_stands():
    assert stands(RECORD)


@pytest.mark.parametrize("name", [name for name in RECORD if name not in ("run", "test_images", "macro_f1")])
@pytest.mark.parametrize("value", [None, [], {}])
def test_a_record_that_somebody_changed_does_not(name, value):
    if RECORD[name] != value:
        assert not stands({**RECORD, name: value})
    assert not stands({key: kept for key, kept in RECORD.items() if key != name})


def test_another_versions_record_does_not():
    assert not stands({"run": "11111111", "files": {}})


def test_an_output_that_is_just_being_published_is_said_to_be_its_owners(tmp_path):
    output = str(tmp_path / "out")
    with lease.hold(output, "11111111"):
        (tmp_path / "out" / "labels.json").write_text("moved already")
        with ExitStack() as held, pytest.raises(RunError, match="belongs to run 11111111"):
            stages._take(output, "22222222", held)
    assert not lease.is_claimed(output)
    (tmp_path / "out" / "_incomplete").mkdir()
    (tmp_path / "out" / "_incomplete" / publication.OWNER).write_text("the user's own")
    assert not lease.is_claimed(output)
