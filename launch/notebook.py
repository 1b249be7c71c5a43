"""JupyterLab beside a session: the notebook's own Python on this machine, its functions on the nodes.

`make notebook` opens `notebooks/pipeline.ipynb`; `make notebook-html` runs it from top to bottom and writes a page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from base import command_line, releases
from base.defaults import BUCKET
from base.errors import EmrlabError, UsageError
from base.paths import CACHE, INSTALLED, ROOT
from launch import docker_lab, image_job, package, session, transfer
from launch.job import Job, is_remote
from launch.package import Package
from launch.session import Session

if TYPE_CHECKING:
    from launch.emr.run_spec import SessionSpec

NOTEBOOKS = ROOT / "notebooks"
NAME = "pipeline.ipynb"
LOCK = NOTEBOOKS / "requirements.lock"
CONFIG = CACHE / "notebook" / "config"
STOP_S = 15.0
# Jupyter asks nobody for news and updates, and installs nothing.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the notebook works on, as the nodes find it: locations of photographs and results."""

    input: str
    output: str


def run(parsed: argparse.Namespace) -> int:
    """Open JupyterLab, or with `--html` run the notebook and write its page; the exit code is Jupyter's.

    Raises:
        UsageError: the target is not ready, nobody agrees to its price, or this machine has no Python of the nodes'
            version.
        EmrlabError: the session or Jupyter does not start; a cell fails.
    """
    job = image_job.declare(image_job.from_flags(parsed, live=sys.stdout.isatty()))
    folder = _folder(parsed.notebooks or (Path("notebooks") if INSTALLED else NOTEBOOKS))
    spec = session.spec_on_emr(parsed, job)
    if spec is None:
        _check(job, parsed.target)
    else:
        # For want of one nothing is sent, and no cluster bills.
        environment(spec.release.python, spark=spec.release.spark)
    model, built = job.made["model"].make(), package.build(job.entry, job.modules, cache=CACHE)
    places = _places(job, parsed.target, spec, model=model, built=built)
    overrides, locations = dict(parsed.conf), (places.input, places.output)
    with session.started(parsed.target, conf_overrides=overrides, locations=locations, spec=spec) as opened:
        python = environment(opened.python, spark=opened.spark)
        variables = _variables(opened, places, photographs=job.inputs["input"], model=model, archive=built.archive)
        if parsed.html:
            return _render(python, folder / NAME, parsed.html, variables)
        sys.stdout.write(f"a session on {opened.where}; it ends with JupyterLab, by Ctrl-C\n")
        sys.stdout.flush()
        return _serve(python, folder, variables, watched=opened if spec is None else None)


def environment(version: str, *, spark: str) -> Path:
    """The Python with what `requirements` says, made in the cache where it is not there yet.

    Args:
        version: minor version, like 3.11: a function can only run on the nodes from a Python of theirs.
        spark: the version of the session's server.

    Raises:
        UsageError: this machine has no such Python.
        EmrlabError: the folder cannot be made, or the packages not be installed.
    """
    uv, folder = Path(sys.executable).with_name("uv"), CACHE / "notebook" / f"{version}-spark-{spark}"
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    locked = requirements(spark)
    wanted = sha256(locked.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:  # a link to a Python that may be gone
        return python
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    source = sys.executable if version == here else version
    made: list[str | Path] = [uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", source, folder]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    if done.returncode and "No interpreter found" in done.stderr:
        raise UsageError(
            f"the nodes run Python {version} and this machine has none: functions of another Python cannot run there; "
            f"install it: apt-get install python{version}, or on macOS: brew install python@{version}"
        )
    if done.returncode:
        raise EmrlabError(f"the notebook's Python cannot be made in {folder}: {_last_line(done.stderr)}")
    sys.stdout.write("installing JupyterLab and Spark's client (once, a minute)\n")
    sys.stdout.flush()
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, "--compile-bytecode"]
    install += ["--require-hashes", "--requirements", "-"]
    done = subprocess.run(install, input=locked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmrlabError(f"the notebook's packages cannot be installed: {_last_line(done.stderr)}; run it again")
    stamp.write_text(wanted)
    return python


def requirements(spark: str) -> str:
    """notebooks/requirements.lock with Spark's client of this version: a newer one asks a server for what it has not.

    The lock has the default release's; what the clients need beside them is the same.
    """
    hashes = {release.spark: release.client_sha256 for release in map(releases.find, releases.labels())}
    line = f"pyspark-client=={spark} --hash=sha256:{hashes[spark]}\n"
    return re.sub(r"^pyspark-client==.*\n(?: +--hash=.*\n)+", line, LOCK.read_text(), flags=re.MULTILINE)


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["uv says nothing"])[-1].strip()


def _folder(asked: Path) -> Path:
    """The user's folder of notebooks, with ours in it: what is there is never replaced.

    Raises:
        UsageError: it cannot be one.
    """
    if asked == NOTEBOOKS:
        return NOTEBOOKS
    try:
        asked.mkdir(parents=True, exist_ok=True)
        _copy(NOTEBOOKS / NAME, asked / NAME)
    except FileExistsError:
        if not asked.is_dir():
            raise UsageError(f"NOTEBOOKS={asked} is no folder; name one") from None
    except OSError as error:
        raise UsageError(f"NOTEBOOKS={asked}: {error.strerror}; name a folder that you can write") from error
    return asked.resolve()


def _copy(file: Path, place: Path) -> None:
    """Have a copy at `place`, whole or not at all: what is there would be taken for the user's from then on.

    Raises:
        FileExistsError: something is there.
        OSError: it cannot be written.
    """
    content = file.read_bytes()
    with place.open("xb") as opened:
        try:
            opened.write(content)
            opened.flush()
        except BaseException:
            place.unlink()
            raise


def _check(job: Job, target: str) -> None:
    """See that there are photographs, before anything is made or sent.

    Raises:
        UsageError: there are none, or the lab is not up.
    """
    source = job.inputs["input"]
    if target != "local":
        transfer.check(job)
        docker_lab.find()
    elif not is_remote(source) and not Path(source).is_dir():
        raise UsageError(f"--input {source}: no such folder; correct the path")


def _places(job: Job, target: str, spec: SessionSpec | None, *, model: Path, built: Package) -> Places:
    """Bring the photographs where the nodes find them, as a run does.

    Raises:
        LabError: the lab is not up.
        StorageError: they cannot be sent.
    """
    if target == "local":
        return Places(input=job.inputs["input"], output=job.outputs["output"].location)
    if spec is None:
        access = docker_lab.access(docker_lab.find())
        sent = transfer.send(job, built, {"model": model}, bucket=BUCKET, access=access)
    else:
        from launch.emr import artifacts  # noqa: PLC0415 - as above

        sent = artifacts.send_job(spec, job, built, {"model": model}, access=artifacts.access(spec))
    return Places(input=sent.places["input"], output=sent.places["output"])


def _variables(
    opened: Session, places: Places, *, photographs: str, model: Path, archive: Path | None
) -> dict[str, str]:
    """What the notebook's kernel finds in its environment; `photographs` as the user named them."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "EMRLAB_LAUNCHER": sys.executable,
        # A cell's `!command` forks the kernel, whose gRPC would break in the child before that is another program.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "EMRLAB_PHOTOS": photographs,
        "EMRLAB_INPUT": places.input,
        "EMRLAB_OUTPUT": places.output,
        "EMRLAB_SLOTS": str(opened.slots),
        "EMRLAB_MODEL": str(model),
        "EMRLAB_PACKAGE": str(archive),
        "PYTHONPATH": os.pathsep.join(path),
        # One factorisation: its threads would wait in turn for cores that Spark is using.
        "OPENBLAS_NUM_THREADS": "1",
        # A configuration of the user's own may have no token, or listen to others.
        "JUPYTER_CONFIG_DIR": str(CONFIG),
        "JUPYTER_CONFIG_PATH": "",
    }
    return {**os.environ, **opened.environment, **own}


def _serve(python: Path, folder: Path, variables: Mapping[str, str], *, watched: Session | None) -> int:
    """JupyterLab until it ends, or Ctrl-C. It makes a token of its own, and says its address with it.

    Where the `watched` session's server ends before, that is said: cells would try to reach it for ten minutes.
    """
    page = CONFIG / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True, exist_ok=True)
    # It would ask at every start whether to bring news.
    page.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    has_screen = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    browser = [] if sys.stdout.isatty() and has_screen else ["--no-browser"]
    command: list[str | Path] = [
        python,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={folder}",
        *QUIET,
    ]
    command += ["--log-level=WARN", f"--LabApp.default_url=/lab/tree/{NAME}", *browser, "--allow-root"]
    with _jupyter(command, variables) as jupyter:
        try:
            while watched:
                with suppress(subprocess.TimeoutExpired):
                    return jupyter.wait(timeout=watched.watch_s)
                if not watched.is_open():
                    command_line.fail(
                        "the session's server has ended, as where memory runs out; save the notebook, end JupyterLab "
                        "by Ctrl-C, and run: make notebook"
                    )
                    break
            return jupyter.wait()
        except KeyboardInterrupt as stopped:
            return session.ended(stopped)


def _render(python: Path, notebook: Path, page: Path, variables: Mapping[str, str]) -> int:
    """Run the notebook, of which nothing is changed, and write it with its outputs as one page.

    Raises:
        EmrlabError: a cell fails.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        python,
        "-m",
        "nbconvert",
        "--execute",
        "--to=html",
        "--embed-images",
        f"--output={page.resolve()}",
    ]
    command += ["--ExecutePreprocessor.timeout=900", "--log-level=WARN", notebook]
    with _jupyter(command, variables) as jupyter:
        if code := jupyter.wait():
            raise EmrlabError(f"{notebook.name} fails, exit code {code}: the cell and the cause stand above")
    sys.stdout.write(f"{'notebook':<12}{os.path.relpath(page)}\n")
    return 0


@contextmanager
def _jupyter(command: Sequence[str | Path], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Jupyter in a process group of its own, ended with all its kernels when the body is left."""
    with subprocess.Popen(command, env=variables, start_new_session=True) as jupyter:
        try:
            yield jupyter
        finally:
            if jupyter.poll() is None:
                jupyter.send_signal(signal.SIGTERM)
                try:
                    jupyter.wait(timeout=STOP_S)
                except subprocess.TimeoutExpired:
                    os.killpg(jupyter.pid, signal.SIGKILL)
