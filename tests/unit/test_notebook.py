"""The notebook's file, its folder and its environment."""

import ast
import json
import os
import re
import resource
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from base import releases
from base.errors import EmrlabError, UsageError
from base.paths import ROOT
from launch import __main__ as cli
from launch import notebook
from launch.session import Session
from pipeline import results, sums
from pipeline.split import Splitter

NOTEBOOK = json.loads((notebook.NOTEBOOKS / notebook.NAME).read_text())
DEFAULT = releases.find()
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_committed_without_outputs():
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert NOTEBOOK["metadata"].keys() == {"kernelspec", "language_info"}, "nothing of whoever ran it last"


def test_every_part_of_it_is_explained():
    kinds = [cell["cell_type"] for cell in NOTEBOOK["cells"]]
    assert kinds[0] == "markdown"
    assert not any(kinds[number : number + 3] == ["code"] * 3 for number in range(len(kinds)))


def test_it_calls_the_pipelines_functions_by_names_that_are_public():
    source = "\n".join(line for text in CODE for line in text.splitlines() if not line.startswith("!"))
    tree = ast.parse(source)
    ours = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "pipeline"
            for name in node.names}  # fmt: skip
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {(ast.unparse(node.value), node.attr) for node in reads if ast.unparse(node.value) in ours}
    assert ours == {module for module, _ in used}
    for module, name in used:
        assert not name.startswith("_")
        assert re.search(rf"^(def |class )?{name}\b", (ROOT / "pipeline" / f"{module}.py").read_text(), re.MULTILINE)


def test_a_task_sends_its_sums_once_however_many_batches_it_has():
    (cell,) = (text for text in CODE if "def add_up" in text)
    (function,) = (node for node in ast.parse(cell).body if isinstance(node, ast.FunctionDef))
    names = {"pa": pa, "sums": sums, "splitter": Splitter(42), "share": 1.0}
    exec(ast.unparse(function), names)  # noqa: S102 - the notebook's own
    rows = [
        {"path": f"Kiwi/{number}.jpg", "label": "Kiwi", "label_index": 0, "etag": "a", "features": [float(number)] * 4}
        for number in range(9)
    ]
    for row in rows:
        names["splitter"].learn(row["path"], row["label"])
    batches = pa.Table.from_pylist(rows, schema=results.FEATURES_SCHEMA).to_batches(max_chunksize=2)
    (sent,) = names["add_up"](iter(batches))
    assert sums.unpack(sent["sums"][0].as_py())[0].all.count == 9
    assert list(names["add_up"](iter([]))) == []


def test_its_client_is_the_releases_own():
    lock = notebook.LOCK.read_text()
    client = f"\npyspark-client=={DEFAULT.spark} \\\n    --hash=sha256:{DEFAULT.client_sha256}\n"
    assert client in lock, "the default release's stands in the lock"
    assert "://" not in lock
    others = [release for release in map(releases.find, releases.labels()) if release.client_sha256]
    assert {DEFAULT.label, "emr-spark-8.0.0"} <= {release.label for release in others}
    for release in others:
        line = f"\npyspark-client=={release.spark} --hash=sha256:{release.client_sha256}\n"
        assert notebook.requirements(release.spark) == lock.replace(client, line)


def test_its_packages_are_those_of_the_job():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[<>=;]", name)[0] for name in project["dependency-groups"]["job"]}
    pins = [
        {tuple(pin) for pin in re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE) if pin[0] in wanted}
        for lock in (notebook.LOCK, ROOT / "requirements.lock")
    ]
    assert {name for name, _ in pins[0]} == wanted
    assert pins[0] == pins[1]


def test_a_folder_of_the_users_gets_the_notebook_once(tmp_path):
    folder = tmp_path / "mine"
    assert notebook._folder(folder) == folder
    assert (folder / notebook.NAME).read_bytes() == (notebook.NOTEBOOKS / notebook.NAME).read_bytes()
    (folder / notebook.NAME).write_text("my own work")
    notebook._folder(folder)
    assert (folder / notebook.NAME).read_text() == "my own work"


def test_a_notebook_that_finds_no_room_is_not_left_half_there(tmp_path):
    """It would be taken for the user's own at the next start, and Jupyter cannot open half of one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UsageError, match="NOTEBOOKS="):
            notebook._folder(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
    notebook._folder(tmp_path)
    assert (tmp_path / notebook.NAME).read_bytes() == (notebook.NOTEBOOKS / notebook.NAME).read_bytes()


def test_a_tilde_that_the_shell_hands_on_is_the_users_home(tmp_path, monkeypatch, capsys):
    """As zsh does behind a `=`: make notebook NOTEBOOKS=~/work."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "~/job"]) == 0
    assert (tmp_path / "home" / "job" / "emrlab.toml").exists()
    flags = ["--notebooks", "~/work", "--input", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    assert cli.main(["notebook", *flags]) == 2
    assert (tmp_path / "home" / "work" / notebook.NAME).exists()
    capsys.readouterr()
    assert cli.main(["init", "~nobody-here/job"]) == 2
    assert "no user of that name has a home here; write ./~nobody-here/job" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("~")]


def test_a_python_that_was_removed_since_is_found_anew(tmp_path, monkeypatch):
    """As an upgrade of the system removes the one that the environment links to."""
    monkeypatch.setattr(notebook, "CACHE", tmp_path)
    folder = tmp_path / "notebook" / f"3.99-spark-{DEFAULT.spark}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(tmp_path / "gone")
    (folder / "requirements.sha256").write_text(sha256(notebook.requirements(DEFAULT.spark).encode()).hexdigest())
    with pytest.raises(UsageError, match=r"the nodes run Python 3\.99 and this machine has none"):
        notebook.environment("3.99", spark=DEFAULT.spark)


def test_a_link_in_the_place_of_the_notebook_is_not_followed(tmp_path):
    (tmp_path / notebook.NAME).symlink_to(tmp_path / "elsewhere")
    notebook._folder(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_folder_is_said(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UsageError, match=rf"NOTEBOOKS={re.escape(str(file))}"):
        notebook._folder(file)
    assert file.read_text() == "x"


def test_a_python_that_this_machine_lacks_is_said_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "CACHE", tmp_path)
    with pytest.raises(UsageError, match=r"the nodes run Python 3\.99 and this machine has none: .*python3\.99"):
        notebook.environment("3.99", spark=DEFAULT.spark)


def test_a_cache_that_cannot_be_written_is_not_taken_for_a_python_that_is_missing(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(notebook, "CACHE", tmp_path / "cache")
    with pytest.raises(EmrlabError, match=r"the notebook's Python cannot be made in .*cache.notebook.*: ") as caught:
        notebook.environment(f"{sys.version_info.major}.{sys.version_info.minor}", spark=DEFAULT.spark)
    assert "\n" not in str(caught.value)


def test_a_server_that_ends_under_jupyterlab_is_said_once_and_jupyterlab_stays(tmp_path, monkeypatch, capsys):
    """What is written in it can be saved."""
    monkeypatch.setattr(notebook, "CONFIG", tmp_path / "config")
    python, looks = tmp_path / "python", iter([True, False])
    python.write_text(f"#!/bin/sh\nwhile [ ! -e {tmp_path}/saved ]; do sleep 0.02; done\n")
    python.chmod(0o755)

    def is_open():
        is_there = next(looks)
        if not is_there:
            (tmp_path / "saved").touch()
        return is_there

    watched = Session(
        where="a test", python="3.11", spark="4.1.1", slots=1, environment={}, is_open=is_open, watch_s=0.01
    )
    assert notebook._serve(python, tmp_path, dict(os.environ), watched=watched) == 0
    said = capsys.readouterr().err
    assert said.startswith("error: the session's server has ended, as where memory runs out; save the notebook")
    assert said.count("\n") == 1


def test_photographs_that_are_not_there_are_said(tmp_path, capsys):
    missing = str(tmp_path / "none")
    assert cli.main(["notebook", "--input", missing, "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: --input {missing}: no such folder; correct the path\n"


def test_the_keys_of_the_kernel_are_those_that_the_notebook_reads():
    read = set(re.findall(r'os\.environ\["(\w+)"\]|"\$(\w+)"', "\n".join(CODE)))
    read = {name for pair in read for name in pair if name}
    source = Path(notebook.__file__).read_text() + (ROOT / "launch" / "session.py").read_text()
    assert read
    assert all(f'"{name}"' in source for name in read)
