"""One run at a time: the lock on an output that is a folder."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import lease
from pipeline.settings import RunError

OWNER = "_incomplete/owner.json"


def test_a_second_run_is_refused_and_the_owner_named(tmp_path):
    with lease.hold(str(tmp_path / "out"), "11111111") as confirm:
        owner = json.loads((tmp_path / "out" / OWNER).read_text())
        assert owner["run"] == "11111111"
        for _ in range(2):
            with (
                pytest.raises(RunError, match=f"out belongs to run 11111111 of .* on .* .process {owner['pid']}., "),
                lease.hold(str(tmp_path / "out"), "22222222"),
            ):
                pass
        confirm()
    assert not (tmp_path / "out" / "_incomplete").exists()
    with lease.hold(str(tmp_path / "out"), "22222222") as confirm:
        confirm()


def test_to_ask_for_the_owner_changes_nothing(tmp_path):
    (tmp_path / "theirs" / "model").mkdir(parents=True)
    for name in ("theirs", "new"):
        assert not lease.is_claimed(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "theirs"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_given_back_after_a_failure_and_what_was_prepared_stays(tmp_path, error):
    prepared = tmp_path / "out" / "_incomplete" / "features" / "a"

    def work():
        with lease.hold(str(tmp_path / "out"), "11111111"):
            prepared.parent.mkdir()
            prepared.touch()
            raise error

    with pytest.raises(error):
        work()
    assert prepared.exists()
    with lease.hold(str(tmp_path / "out"), "22222222") as confirm:
        confirm()


def test_a_killed_owner_holds_nothing(tmp_path):
    script = (
        "import sys; from pipeline import lease\nwith lease.hold(sys.argv[1], '11111111'): print(flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert other.stdout
    other.stdout.readline()
    with (
        pytest.raises(RunError, match=rf"belongs to run 11111111 .*\(process {other.pid}\), it still runs"),
        lease.hold(str(tmp_path / "out"), "22222222"),
    ):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "out" / OWNER).exists()
    with lease.hold(str(tmp_path / "out"), "22222222") as confirm:
        confirm()


def test_an_owner_whose_lock_was_removed_learns_of_it_and_leaves_the_next_ones(tmp_path):
    with lease.hold(str(tmp_path / "out"), "11111111") as confirm:
        (tmp_path / "out" / OWNER).unlink()
        with pytest.raises(RunError, match="taken over by another run, or cleared"):
            confirm()
        second = lease.hold(str(tmp_path / "out"), "22222222")
        confirm_second = second.__enter__()
        with pytest.raises(RunError):
            confirm()
    confirm_second()
    second.__exit__(None, None, None)


def test_a_link_in_the_locks_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out" / "_incomplete").mkdir(parents=True)
    (tmp_path / "out" / OWNER).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), lease.hold(str(tmp_path / "out"), "11111111"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
