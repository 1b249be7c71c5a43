"""Packages go to the lab's nodes by a `docker` that runs what it is told in a folder that plays the node."""

import json
import os
import subprocess
import sys

import pytest

from launch.dependencies import layer
from launch.dependencies.layer import LayerError


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Folders of the nodes; `docker compose exec -T NODE sh -c …` runs here, with the node's folder for /mnt/spark."""
    folder = tmp_path / "nodes"
    for name in ("master", "worker-1", "worker-2"):
        (folder / name / "packages").mkdir(parents=True)
    rows: list[dict[str, object]] = [
        {"Service": name, "State": "running", "Publishers": []}
        for name in ("master", "worker-1", "worker-2", "minio", "history")
    ]
    rows.append({"Service": "worker-3", "State": "exited", "Publishers": []})
    listed = tmp_path / "rows"
    listed.write_text("\n".join(map(json.dumps, rows)))
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f"""#!{sys.executable}
import os, sys
words = sys.argv[1:]
if words[:2] == ["compose", "ps"]:
    print(open({str(listed)!r}).read())
    sys.exit()
node, command = words[3], words[4:]
open({str(tmp_path / "asked")!r}, "a").write(node + "\\n")
home = {str(folder)!r} + "/" + node + "/packages"
os.execvp(command[0], [word.replace({layer.PLACE!r}, home) for word in command])
"""
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def packages(tmp_path):
    """What `wheels.unpack` leaves: a module, data that nobody else may read, and what was compiled here."""
    folder = tmp_path / "0123456789ab"
    (folder / "tiny" / "__pycache__").mkdir(parents=True)
    (folder / "tiny" / "__init__.py").write_text("VERSION = '1.0'\n")
    (folder / "tiny" / "__init__.py").chmod(0o600)
    (folder / "tiny" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"of this machine")
    return folder


def python_of(nodes, name):
    return nodes / name / "packages" / "0123456789ab" / "bin" / "python"


def test_master_and_workers_get_an_environment_of_their_own(nodes, packages):
    assert layer.bring(packages) == f"{layer.PLACE}/0123456789ab/bin/python"
    for name in ("master", "worker-1", "worker-2"):
        command = [python_of(nodes, name), "-c", "import sys, tiny; print(tiny.VERSION, sys.prefix, len(sys.path))"]
        version, prefix, _ = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert (version, prefix) == ("1.0", str(python_of(nodes, name).parent.parent))
    assert not list(nodes.rglob("*.half.*"))
    compiled = nodes.glob("*/packages/*/lib/*/site-packages/tiny/__pycache__/*.pyc")
    assert all(path.read_bytes() != b"of this machine" for path in compiled)


def test_it_is_brought_once(nodes, packages, tmp_path):
    layer.bring(packages)
    before = python_of(nodes, "master").lstat().st_ino
    (tmp_path / "asked").unlink()
    layer.bring(packages)
    assert sorted((tmp_path / "asked").read_text().split()) == ["master", "worker-1", "worker-2"]
    assert python_of(nodes, "master").lstat().st_ino == before


def test_what_nobody_has_used_for_a_week_goes(nodes, packages):
    layer.bring(packages)
    old, new = (nodes / "master" / "packages" / name for name in ("old", "new"))
    for each in (old, new):
        each.mkdir()
    os.utime(old, (1, 1))
    layer.bring(packages)
    assert (old.exists(), new.exists(), python_of(nodes, "master").exists()) == (False, True, True)


def test_a_node_that_does_not_take_them_is_named_and_nothing_half_is_left(nodes, packages):
    home = nodes / "worker-2" / "packages"
    home.rmdir()
    home.write_text("a file")
    with pytest.raises(LayerError, match=r"cannot be brought to worker-2: .*; make logs SERVICE=worker-2 has more"):
        layer.bring(packages)
    assert not list(nodes.rglob("*.half.*"))
