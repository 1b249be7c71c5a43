"""The user's requirements, worked out for the machines that run the job: every package in one version, with hashes.

uv does it, for any processor and Python from any laptop. What the release's Spark brings (pyspark, py4j) takes part in
it and is left out of the result: the nodes have it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from base.errors import EmrlabError, UsageError
from pipeline.redaction import redacted

TIMEOUT_S = 900
# Amazon Linux 2023 has glibc 2.34; wheels for any version up to it run there.
GLIBC_MINOR = 34
PROVIDED = ("pyspark", "py4j")
_INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)[\s=]*(\S.*)")
_INDEX = re.compile(r"(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host|--no-index)\b[\s=]*(.*)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`|Wheels are available for `([^`]+)`|wheels for `([^`]+)`")
_DISK = re.compile(r"No space left on device|Read-only file system|Permission denied|Disk quota exceeded")
_OFFLINE = re.compile(r"Failed to fetch|error sending request|Connection refused|network was disabled|timed out")


class RequirementsError(UsageError):
    """The requirements cannot be met as they are: one line with the file, the package and what to do."""


class FetchError(EmrlabError):
    """An index does not give what is wanted, or the disk does not take it: one line with the cause and what to do."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Where packages are to run.

    Attributes:
        machine: x86_64 or aarch64 of a node, a Linux with glibc 2.34; None is this machine, whatever it is.
        python: like 3.11.
        spark: version of the Spark that is there.
    """

    machine: str | None
    python: str
    spark: str

    def __str__(self) -> str:
        here = f"{platform.system()} {platform.machine()}"
        return f"Python {self.python} on {f'Linux {self.machine}' if self.machine else here}"


def here() -> Platform:
    """This machine, with its own Python and pyspark."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Platform(machine=None, python=python, spark=importlib.metadata.version("pyspark"))


def machine_here() -> str:
    """The processor that Docker's containers see here: x86_64 or aarch64, as Linux calls it.

    This machine's own, but for where DOCKER_DEFAULT_PLATFORM says linux/amd64, say on an Apple: Docker imitates it.
    """
    named = os.environ.get("DOCKER_DEFAULT_PLATFORM", "").split("/")
    machine = named[1] if len(named) > 1 else platform.machine()
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(machine.lower(), machine)


def resolve(requirements: Path, target: Platform, *, cache: Path) -> str:
    """The lock of a requirements file: lines `name==version` with hashes; empty where Spark's own is all there is.

    It is worked out once and kept, so that every run gets the same; a change of the file, or of one that it includes,
    makes it anew, and so does a wheel of the user's that was built again under the same name. Hashes in the file hold:
    a lock of uv, pip-tools or Poetry gives what it names and nothing else.

    Args:
        requirements: in pip's format; `-r`, `-c` and the options of indexes may stand in it.
        target: where the packages are to run.
        cache: folder of what was worked out before.

    Raises:
        RequirementsError: it cannot be read, or not be met; a package has no wheel for `target`.
        FetchError: no index answers, or uv's cache cannot be written.
        OSError: the cache cannot be written.
    """
    texts = _texts(requirements)
    system = sys.platform if target.machine is None else str(GLIBC_MINOR)
    # The same text beside another folder of wheels is another thing.
    recipe = "\0".join([repr(target), system, index_options(requirements), *texts.values()])
    kept = cache / "locks" / f"{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.txt"
    record = kept.with_suffix(".json")  # of the user's wheels
    if not kept.exists() or _is_built_again(record):
        lock = _held(_compile(requirements, target), texts, requirements)
        kept.parent.mkdir(parents=True, exist_ok=True)
        for path, text in ((record, json.dumps(_own_wheels(lock, texts))), (kept, lock)):
            half = path.with_name(f"{path.name}.{os.getpid()}")
            half.write_text(text)
            half.replace(path)
    return kept.read_text()


def index_options(requirements: Path) -> str:
    """The lines of a requirements file, and of those that it includes, that say where packages are found.

    They may have a password in them: they are handed on in files, not on a command line.

    Raises:
        RequirementsError: one cannot be read.
    """
    lines = []
    for path, text in _texts(requirements).items():
        for line in _lines(text):
            if place := _links(line, path):
                lines.append(f"--find-links {place.as_uri()}")  # which may have a space in it
            elif _INDEX.match(line):
                lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def environment() -> dict[str, str]:
    """What uv and pip run with: an index that the environment names for one of them serves the other, too."""
    names = os.environ
    index = names.get("UV_DEFAULT_INDEX") or names.get("UV_INDEX_URL") or names.get("PIP_INDEX_URL")
    both = {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index} if index else {}
    return {**names, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1", **both}


def uv_platform(target: Platform) -> list[str]:
    """uv's flags for where packages are to run."""
    flags = ["--python", sys.executable, "--python-version", target.python, "--only-binary", ":all:"]
    if target.machine:
        flags += ["--python-platform", f"{target.machine}-manylinux_2_{GLIBC_MINOR}"]
    return flags


def run_uv(*arguments: str, what: str, folder: Path | None = None) -> str:
    """What `uv pip ARGUMENTS` prints.

    Args:
        arguments: of uv.
        what: begins the line of an error: whose packages these are.
        folder: in which it runs, as relative names in the user's file are of there.

    Raises:
        RequirementsError: they cannot be met.
        FetchError: no index answers in TIMEOUT_S.
    """
    command = [uv.find_uv_bin(), "pip", *arguments]
    try:
        ran = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{what}: no answer in {TIMEOUT_S} s; check the network, run again") from error
    if ran.returncode:
        raise _cause(ran.stderr, what)
    return ran.stdout


def pins(lock: str) -> dict[str, str]:
    """Version by name of a lock."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock, re.MULTILINE))


def _compile(requirements: Path, target: Platform) -> str:
    with tempfile.TemporaryDirectory(prefix="emrlab-") as stub:
        _write_stub(Path(stub), target.spark)
        constraint = Path(stub, "constraint.txt")
        constraint.write_text(f"pyspark=={target.spark}\n")
        options = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-strip-extras"]
        options += ["--constraint", str(constraint), "--find-links", stub]
        options += [flag for name in PROVIDED for flag in ("--no-emit-package", name)]
        what, folder = f"{requirements}, for {target}", requirements.absolute().parent
        try:
            return run_uv("compile", *options, *uv_platform(target), requirements.name, folder=folder, what=what)
        except RequirementsError as error:
            if re.search(rf"pyspark\S* and pyspark=={re.escape(target.spark)},", str(error)):
                raise RequirementsError(
                    f"{requirements} asks for another pyspark than {target.spark}, which the release brings along; "
                    "take that line out, or choose another release"
                ) from error
            raise


def _write_stub(folder: Path, spark: str) -> None:
    """A wheel of pyspark with nothing in it but what its extras ask for: PyPI has none, only 450 MB of sources."""
    wants = importlib.metadata.requires("pyspark") or []
    extras = importlib.metadata.metadata("pyspark").get_all("Provides-Extra") or []
    lines = ["Metadata-Version: 2.1", "Name: pyspark", f"Version: {spark}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {wanted}" for wanted in wants]
    with zipfile.ZipFile(folder / f"pyspark-{spark}-py3-none-any.whl", "w") as wheel:
        info = f"pyspark-{spark}.dist-info"
        wheel.writestr(f"{info}/METADATA", "\n".join([*lines, ""]))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def _held(lock: str, texts: Mapping[Path, str], requirements: Path) -> str:
    """The lock with only those hashes that the requirements have, where they have any; uv passes them over."""
    given: dict[str, set[str]] = {}
    for text in texts.values():
        for line in _lines(text):
            if found := _HASH.findall(line):
                given.setdefault(_name(line), set()).update(found)
    entries = []
    for entry in filter(str.strip, re.split(r"^(?=\S)", lock, flags=re.MULTILINE)):
        first = entry.split(maxsplit=1)[0]
        if not re.match(r"[a-z0-9][a-z0-9._\[\],-]*==", entry) or " @ " in entry.splitlines()[0]:
            raise RequirementsError(
                f"{requirements} names {redacted('', first)}, which is no package of an index; build a wheel of it and "
                "give its folder by a line --find-links, or name its folder under modules"
            )
        hashes: set[str] = set(_HASH.findall(entry))
        if wanted := given.get(_name(entry)):
            hashes &= wanted
            if not hashes:
                raise RequirementsError(
                    f"{requirements}: {first} is not the file that the hashes name; an index has another one, make the "
                    "lock anew"
                )
        elif given:
            raise RequirementsError(f"{requirements} has hashes, but none for {first}; make the lock anew")
        pin = re.sub(r"\[[^]]*\]", "", first)
        entries.append(" \\\n".join([pin, *(f"    {each}" for each in sorted(hashes))]) + "\n")
    return "".join(entries)


def _texts(requirements: Path) -> dict[Path, str]:
    """The file, and all that it includes, by path."""
    texts: dict[Path, str] = {}
    waiting = [requirements]
    while waiting:
        path = waiting.pop()
        if path in texts:
            continue
        try:
            texts[path] = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "no text"
            raise RequirementsError(f"{path}: {cause}; correct the requirements") from error
        includes = (_INCLUDE.match(line) for line in _lines(texts[path]))
        waiting += [path.parent / found[1] for found in includes if found and "://" not in found[1]]
    return texts


def _lines(text: str) -> Iterator[str]:
    """Logical lines, without comments."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if plain := re.sub(r"(^|\s)#.*", "", line).strip():
            yield plain


def _links(line: str, path: Path) -> Path | None:
    """The place on this machine that a line of `path` has for --find-links; None where it says something else."""
    found = _INDEX.match(line)
    if not found or found[1] not in {"-f", "--find-links"}:
        return None
    place = path.parent / found[2]
    return place.resolve() if place.exists() else None


def _own_wheels(lock: str, texts: Mapping[Path, str]) -> dict[str, str]:
    """SHA-256 of the lock's wheels in folders of the user's, by their paths."""
    pinned = {f"{name}=={version}" for name, version in pins(lock).items()}
    folders = {place for path, text in texts.items() for line in _lines(text) if (place := _links(line, path))}
    wheels = [wheel for folder in folders for wheel in folder.glob("*.whl")]
    return {str(wheel): _digest(wheel) for wheel in wheels if _pin(wheel) in pinned}


def _pin(wheel: Path) -> str:
    """`name==version` of a wheel called name-version-….whl."""
    name, _, rest = wheel.name.partition("-")
    return f"{_name(name)}=={rest.partition('-')[0]}"


def _is_built_again(record: Path) -> bool:
    """Whether one of the user's wheels is another now."""
    known = json.loads(record.read_text()) if record.exists() else {}
    return any(Path(wheel).is_file() and _digest(Path(wheel)) != digest for wheel, digest in known.items())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(line: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]).lower()


def _cause(errors: str, what: str) -> RequirementsError | FetchError:
    text = " ".join(redacted("", errors).split())
    if _OFFLINE.search(text):
        found = re.search(r"(Failed to fetch: \S+|Could\w* \S+ \S+|no answer)", text)
        return FetchError(f"{what}: no index answers{f' ({found[0]})' if found else ''}; check the network, run again")
    if found := _NO_WHEEL.search(text):
        name = next(filter(None, found.groups()))
        return RequirementsError(
            f"{what}: {name} has no wheel, and nodes build nothing; choose a version that has one, or build one "
            "and give its folder by a line --find-links"
        )
    if _DISK.search(text):
        return FetchError(f"{what}: {text.removeprefix('error: ')[:300]}; mend that on this machine's disk, run again")
    text = re.sub(r"^error: (No solution found when resolving dependencies )?|cause: ", "", text).rstrip(".")
    return RequirementsError(f"{what}: {text[:300]}; correct the requirements")
