"""Processes on a node: their output, environment and end."""

import signal
import subprocess
import sys

import pytest

from tests.unit.bare_node import lives, pid_in, stray, wait_for

pytestmark = pytest.mark.timeout(60)


def test_a_process_has_its_output_exit_code_environment_and_place(client, node):
    client.reset()
    script = 'echo "$GIVEN $USER $HOME ${AWS_REGION-none} ${INSTANCE_TYPE-none}"; pwd; echo trouble >&2; exit 7'
    code, out, err = client.run("sh", "-c", script, env={"GIVEN": "a b"}, stdout="hadoop/steps/s-1/stdout")
    home = node.data / "home"
    assert (code, out, err) == (7, f"a b hadoop {home} none none\n{home}\n", "trouble\n")
    assert (node.logs / "hadoop/steps/s-1/stdout").read_text() == out
    assert client.run("pwd", cwd=str(node.data))[1] == f"{node.data}\n"


def test_the_key_is_in_no_environment(client):
    client.reset()
    assert "job-secret" not in client.run("env")[1]


def test_output_is_read_while_it_grows_and_from_where_one_left_off(client, node):
    client.reset()
    process = client.start("sh", "-c", f"printf one; while [ ! -e {node.data}/go ]; do sleep 0.02; done; printf two")
    wait_for(lambda: client.ask(f"/processes/{process}")["stdout_bytes"], lambda size: size == 3)
    assert client.read(f"/processes/{process}/stdout") == b"one"
    assert client.ask("/")["processes"] == 1
    (node.data / "go").touch()
    assert client.ended(process)["stdout_bytes"] == 6
    assert client.read(f"/processes/{process}/stdout?offset=3") == b"two"
    assert client.read(f"/processes/{process}/stdout?offset=1&bytes=2") == b"ne"
    assert client.read(f"/processes/{process}/stdout?last=4&bytes=3") == b"etw"
    assert client.read(f"/processes/{process}/stdout?last=60") == b"onetwo"
    assert client.read(f"/processes/{process}/stdout?offset=60") == b""
    assert client.refused(f"/processes/{process}/stdout?offset=-1")[0] == 400
    assert client.ask("/")["processes"] == 0


def test_who_asks_may_choose_the_process_s_id(client):
    client.reset()
    assert client.ask("/processes", {"argv": ["true"], "id": "p-MINE"}) == {"id": "p-MINE"}
    assert client.ended("p-MINE")["exit"] == 0
    assert client.refused("/processes", {"argv": ["true"], "id": "p-MINE"})[0] == 409
    for wrong in ("../x", "a b", 7, ["x"]):
        assert client.refused("/processes", {"argv": ["true"], "id": wrong})[0] == 400


def test_a_killed_process_takes_its_children_along(client):
    client.reset()
    process = client.start("sh", "-c", "sleep 600 & echo $!; wait")
    child = pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGTERM}
    assert not lives(child)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGTERM}


def test_a_killed_process_takes_along_what_left_its_session_and_lost_its_environment(client):
    client.reset()
    process = client.start("sh", "-c", f"trap '' TERM; ({stray()[-1]}); while :; do sleep 0.1; done")
    left = pid_in(client, process)
    assert lives(left)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGKILL}
    assert not lives(left)


def test_one_that_starts_its_like_without_end_is_ended(client, node):
    client.reset()
    fleeing = (
        "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\n"
        "while True:\n    if os.fork():\n        os._exit(0)\n    os.setsid()"
    )
    process = client.start("python3", "-c", fleeing)
    pid_in(client, process)
    client.ended(process)
    client.ask(f"/processes/{process}/kill", {})
    assert node.process(process).keeper.poll() == 0


def test_what_came_of_a_process_whose_keeper_was_killed_ends_with_the_rest(tmp_path):
    script = f"""
from pathlib import Path
from emr_lab.node import keeper, processes
from tests.unit.bare_node import lives
processes.GRACE_S = 0.5
keeper.adopt_orphans()
folder = Path({str(tmp_path)!r})
left = "env -i setsid sh -c 'echo $$; trap : TERM; while :; do sleep 0.1; done' & wait"
argv = ["sh", "-c", "until [ -e go ]; do sleep 0.02; done; kill -KILL $PPID; " + left]
files = dict(stdout=folder / "out", stderr=folder / "err")
process = processes.start(argv, env={{"PATH": "/usr/bin:/bin"}}, cwd=folder, **files)
(folder / "go").touch()
while not (folder / "out").read_text().endswith("\\n"):
    pass
left = int((folder / "out").read_text())
while process.exit_code is None:
    pass
print(process.exit_code, lives(left), lives(process.pid))
processes.end_all([process])
print(lives(left), lives(process.pid))
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50)
    assert told.stdout.splitlines() == ["-9 True True", "False False"], told.stderr


def test_a_process_that_does_not_heed_term_is_killed(client):
    client.reset()
    process = client.start("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    pid = pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": -signal.SIGKILL}
    assert not lives(pid)


def test_one_that_ends_well_at_term_has_the_time_to(client):
    client.reset()
    process = client.start("sh", "-c", "trap 'echo saved; exit 3' TERM; echo $$; while :; do sleep 0.05; done")
    pid_in(client, process)
    assert client.ask(f"/processes/{process}/kill", {}) == {"exit": 3}
    assert client.read(f"/processes/{process}/stdout").endswith(b"saved\n")
