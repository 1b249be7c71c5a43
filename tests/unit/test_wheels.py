"""The package for nodes: what is in it, and the bootstrap action that installs it, run for real in a folder."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from base import releases
from base.paths import ROOT
from launch.dependencies import wheels
from launch.dependencies.lock import FetchError, Platform
from launch.emr import bootstrap
from tests import wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NODE = Platform(machine="x86_64", python="3.11", spark="4.1.1")
LOCK = "tiny==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"


def pins(lock):
    """Version and hashes by name; a name has several versions where those of Pythons differ."""
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    return {entry.split(maxsplit=1)[0]: set(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)) for entry in entries}


def test_the_jobs_lock_has_what_the_job_imports_and_nothing_of_the_laptops():
    names = {pin.split("==")[0] for pin in pins(wheels.JOB_LOCK)}
    assert {"ai-edge-litert", "matplotlib", "numpy", "obstore", "pandas", "pillow", "pyarrow"} <= names
    assert not names & {"pyspark", "py4j", "tensorflow", "tensorflow-cpu", "keras", "boto3", "pytest", "uv"}


def test_the_jobs_lock_is_a_part_of_the_laptops():
    everything = pins(ROOT / "requirements.lock")
    assert all(hashes and everything.get(pin) == hashes for pin, hashes in pins(wheels.JOB_LOCK).items())


def test_the_jobs_lock_says_nothing_of_the_machine_that_reads_it():
    """pip would hold a marker against this machine, not against the nodes; both processors get the same set."""
    assert " ; " not in wheels.JOB_LOCK.read_text()
    options = re.findall(r"--python-version (\S+)", (ROOT / "Makefile").read_text())
    assert set(options) == {releases.find(label).python for label in releases.labels()}


@pytest.fixture
def fetched(monkeypatch):
    """pip's place is taken by two wheels; returns the folders that it was asked to fill."""
    folders = []

    def download(folder, target, *, index_options=""):
        folders.append(folder)
        for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl"):
            (folder / name).write_bytes(name.encode() * 9)

    monkeypatch.setattr(wheels, "download", download)
    return folders


def test_the_tar_has_the_same_bytes_wherever_it_is_made(fetched, tmp_path):
    made = [wheels.build(LOCK, NODE, cache=tmp_path / name) for name in ("one", "two")]
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert made[0].sha256 == hashlib.sha256(made[0].path.read_bytes()).hexdigest()
    assert made[0].path.name == f"wheelhouse-{made[0].sha256[:12]}.tar"
    with tarfile.open(made[0].path) as archive:
        assert archive.getnames() == ["a-1-py3-none-any.whl", "b-1-py3-none-any.whl", "requirements.txt"]
        assert {(entry.mtime, entry.uid, entry.uname, entry.mode) for entry in archive} == {(0, 0, "", 0o644)}


def test_a_wheel_whose_name_is_long_is_packed_and_unpacked(tmp_path):
    """150 characters: a wheel for several versions of manylinux names them all."""
    name = f"{'ai_edge_litert-2.3.0-cp311-cp311-':m<146}.whl"
    folder, unpacked = tmp_path / "wheels", tmp_path / "unpacked"
    for each in (folder, unpacked):
        each.mkdir()
    (folder / name).write_bytes(b"a wheel")
    content = wheels.pack(folder)
    os.utime(folder / name, (1, 1))
    assert wheels.pack(folder) == content, "the same bytes whenever it is packed"
    (tmp_path / "long.tar").write_bytes(content)
    subprocess.run(["tar", "-xf", tmp_path / "long.tar", "-C", unpacked], check=True)
    assert [path.name for path in unpacked.iterdir()] == [name]


def test_what_the_nodes_import_at_the_end_is_what_the_job_has_beyond_python():
    """Each package that brings a library of its own is among them, but for those that the named ones load."""
    for module in bootstrap.imported_on_nodes():
        assert importlib.util.find_spec(module), module
    source = "".join(path.read_text() for path in (ROOT / "pipeline").glob("*.py"))
    used = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    named = {module.partition(".")[0] for module in bootstrap.imported_on_nodes()}
    assert named == used - {"pipeline", "py4j", "pyspark", *sys.stdlib_module_names}


def test_it_is_fetched_once_and_again_when_damaged(fetched, tmp_path):
    first = wheels.build(LOCK, NODE, cache=tmp_path)
    assert wheels.build(LOCK, NODE, cache=tmp_path) == first
    assert len(fetched) == 1
    wheels.build(LOCK, replace(NODE, machine="aarch64"), cache=tmp_path)
    assert len(fetched) == 2, "another processor has other wheels"
    first.path.write_bytes(b"half")
    assert wheels.find(LOCK, NODE, cache=tmp_path) is None
    assert wheels.build(LOCK, NODE, cache=tmp_path) == first


def test_without_an_index_one_line_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError) as failed:
        wheels.build(LOCK, NODE, cache=tmp_path)
    assert "the nodes' wheels cannot be fetched: " in str(failed.value)
    assert "tiny" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert wheels.find(LOCK, NODE, cache=tmp_path) is None


class Node:
    """A folder that plays a node: the bootstrap action in it, an `aws` that copies from `bucket`, and /opt/emrlab."""

    def __init__(self, folder):
        self.bucket, self.venv = folder / "bucket", folder / "opt" / "emrlab"
        self.venv.mkdir(parents=True)
        self.bucket.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.script = folder / "bootstrap.sh"
        self.script.write_text(bootstrap.SCRIPT.read_text().replace("/opt/emrlab", str(self.venv)))
        (self.bin / f"python{PYTHON}").symlink_to(sys.executable)
        self.command("aws", f'[ "$1 $2" = "s3 cp" ] && cp "{self.bucket}/$(basename "$4")" "$5"')

    def command(self, name, body):
        path = self.bin / name
        path.unlink(missing_ok=True)  # it may be a link to a real one
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def put(self, name, version):
        """A wheelhouse with one small wheel, packed as the real one is."""
        folder = self.bucket / f"wheels-{version}"
        folder.mkdir()
        digest = hashlib.sha256(wheel.make(folder, version).read_bytes()).hexdigest()
        (folder / "requirements.txt").write_text(f"tiny=={version} --hash=sha256:{digest}\n")
        content = wheels.pack(folder)
        (self.bucket / name).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def run(self, name, sha256, *modules, path=None):
        command = ["bash", str(self.script), f"s3://b/artifacts/{name}", sha256, PYTHON, *modules]
        environment = {"PATH": path or f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.bucket), "LC_ALL": "C"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def version(self):
        command = [str(self.venv / "bin" / "python"), "-c", "import tiny; print(tiny.VERSION)"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_the_bootstrap_action_installs_leaves_alone_and_replaces(node):
    first = node.put("one.tar", "1.0")
    ran = node.run("one.tar", first)
    assert ran.returncode == 0, ran.stderr
    assert node.version() == "1.0"
    (compiled,) = node.venv.rglob("site-packages/__pycache__/tiny.*.pyc")
    assert compiled.stat().st_size

    (node.bucket / "one.tar").unlink()
    again = node.run("one.tar", first)
    assert again.returncode == 0, again.stderr
    assert "is there already" in again.stdout

    ran = node.run("two.tar", node.put("two.tar", "2.0"))
    assert ran.returncode == 0, ran.stderr
    assert node.version() == "2.0"


def test_a_node_half_done_is_done_anew(node):
    sha256 = node.put("one.tar", "1.0")
    (node.venv / "bin").mkdir()
    (node.venv / "bin" / "python").write_text("half")
    assert node.run("one.tar", sha256).returncode == 0
    assert node.version() == "1.0"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda node: (node.bucket / "one.tar").unlink(),
            "cannot be fetched; the node's role needs s3:GetObject",
        ),
        (
            lambda node: (node.bucket / "one.tar").write_bytes(b"other"),
            "is not the file that was uploaded: its sha256 is not",
        ),
        (lambda node: node.command(f"python{PYTHON}", "exit 1"), "with venv is missing on this node"),
    ],
)
def test_what_goes_wrong_on_a_node_is_its_last_line(node, spoil, words):
    sha256 = node.put("one.tar", "1.0")
    spoil(node)
    for name in ("bash", "sh", "cat", "mktemp", "rm", "cp", "basename", "sha256sum", "mkdir", "tar", "id", "chmod"):
        if not (node.bin / name).exists():
            (node.bin / name).symlink_to(shutil.which(name))
    ran = node.run("one.tar", sha256, path=str(node.bin))  # no dnf here
    assert ran.returncode == 1
    assert words in ran.stderr.splitlines()[-1]
    assert not (node.venv / "wheelhouse.sha256").exists()


def test_a_node_on_which_the_job_cannot_run_fails_with_the_cause(node):
    """As Graviton with a libstdc++ that is older than the runtime's."""
    sha256 = node.put("one.tar", "1.0")
    ran = node.run("one.tar", sha256, "tiny", "no_such_runtime")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "emrlab: the packages cannot be used on this node: import no_such_runtime: "
        "ModuleNotFoundError: No module named 'no_such_runtime'"
    )
    assert node.run("one.tar", sha256, "tiny").returncode == 0, "it is not left for one that is ready"


def test_dnf_brings_the_python_that_is_missing(node):
    sha256 = node.put("one.tar", "1.0")
    real = node.bin / f"python{PYTHON}"
    real.rename(node.bin / "hidden")
    node.command("dnf", f'echo "$@" >"{node.bucket}/dnf"; ln -sf "{node.bin}/hidden" "{real}"')
    node.command(f"python{PYTHON}", "exit 1")
    node.command("sudo", 'shift; exec "$@"')
    assert node.run("one.tar", sha256).returncode == 0
    assert (node.bucket / "dnf").read_text().split() == [
        "install",
        "-y",
        "-q",
        f"python{PYTHON}",
        f"python{PYTHON}-pip",
    ]
    assert node.version() == "1.0"


def test_the_bootstrap_action_is_plain_bash():
    assert subprocess.run(["bash", "-n", bootstrap.SCRIPT], check=False).returncode == 0
    assert Path(bootstrap.SCRIPT).stat().st_mode & 0o111
