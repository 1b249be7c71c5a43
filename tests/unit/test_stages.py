"""When the results of the last run stand, and who is refused an output."""

from datetime import UTC, datetime

import pytest

from pipeline import lease, publication, run_record, stages
from pipeline.features import Model
from pipeline.settings import RunError, from_args

KEY = {"listing": "1", "package": "2"}
RECORD = {
    "run": "11111111",
    "asked": KEY,
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


def is_current(record):
    settings = from_args(["--input", "/in", "--output", "/out", "--model", "m.tflite"])
    return run_record.is_current(record, settings, key=KEY, listed=2)


def test_the_same_again_stands():
    assert is_current(RECORD)


@pytest.mark.parametrize("name", [name for name in RECORD if name not in ("run", "test_images", "macro_f1")])
@pytest.mark.parametrize("value", [None, [], {}])
def test_a_record_that_somebody_changed_does_not(name, value):
    if RECORD[name] != value:
        assert not is_current({**RECORD, name: value})
    assert not is_current({key: kept for key, kept in RECORD.items() if key != name})


def test_another_versions_record_does_not():
    assert not is_current({"run": "11111111", "files": {}})


def test_an_output_that_is_just_being_published_is_said_to_be_its_owners(tmp_path):
    output = str(tmp_path / "out")
    with lease.hold(output, "11111111"):
        (tmp_path / "out" / "labels.json").write_text("moved already")
        settings = from_args(["--input", "/in", "--output", output, "--model", "m.tflite"])
        model = Model("m.tflite", "0" * 64, 16, 24, "none")
        with (
            pytest.raises(RunError, match="belongs to run 11111111"),
            stages.own(settings, model, name="22222222", started=datetime.now(UTC)),
        ):
            pass
    assert not lease.is_claimed(output)
    (tmp_path / "out" / "_incomplete").mkdir()
    (tmp_path / "out" / "_incomplete" / publication.OWNER).write_text("the user's own")
    assert not lease.is_claimed(output)
