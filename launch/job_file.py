"""Reads a job of the user's: a .py, a .jar, or a folder that declares one in emrlab.toml or in its pyproject.toml.

All that is shipped is named, by paths that stay in the folder. What a file holds that is not known here is a mistake.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from base import releases, sizing
from base.errors import EmrlabError, UsageError
from base.spark_conf import Setting
from launch import options, package
from launch.job import Job, Output
from pipeline import settings
from pipeline.names import escape

FILE, PROJECT = options.DECLARATION, "pyproject.toml"
SUFFIXES = (".py", ".jar")
# A name that stands in an address and in a list with commas, as Spark takes them.
_SHIPPED = re.compile(r"[\w.@+=-]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COORDINATE = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+")
_OF_TARGET = ("spark.master", "spark.submit.deployMode", "spark.app.name", "spark.files", "spark.jars")


def read(location: str, *, args: Sequence[str] = (), main_class: str | None = None, verbose: bool = False) -> Job:
    """The job that `location` names.

    Args:
        location: a .py, a .jar, a folder, or the file that declares it.
        args: of the command line, which follow the declared ones.
        main_class: of a .jar, in place of the declared one.
        verbose: Spark's own messages are wanted.

    Raises:
        UsageError: there is nothing, or what is declared cannot be: one line with the file and the key.
    """
    path = Path(location)
    if path.suffix in SUFFIXES:
        table, file = {"entry-point": path.name}, path
        if not path.is_file():
            raise UsageError(f"JOB {escape(location)}: no such file; correct the path")
    else:
        file = _declaring(path)
        table = _load(file)
    found = _Reader(table, words=escape(os.path.relpath(file)), folder=file.parent.resolve())
    return found.job(args=args, main_class=main_class, verbose=verbose)


def _declaring(path: Path) -> Path:
    if path.is_file() and path.name in {FILE, PROJECT}:
        return path
    if not path.is_dir():
        raise UsageError(f"JOB {escape(str(path))} is no .py, no .jar and no folder with an {FILE}; correct the path")
    for file in (path / FILE, path / PROJECT):
        if file.is_file() and (file.name == FILE or "emrlab" in _document(file).get("tool", {})):
            return file
    raise UsageError(f"JOB {escape(str(path))} has no {FILE}, and no [tool.emrlab] in its {PROJECT}; write one")


def _load(file: Path) -> dict[str, Any]:
    document = _document(file)
    if file.name != PROJECT:
        return document
    table = document.get("tool", {}).get("emrlab")
    if not isinstance(table, dict):
        raise UsageError(f"{file} has no [tool.emrlab]; declare the job there, or in an {FILE}")
    return table


def _document(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UsageError(f"{escape(str(file))}: {cause}; correct the file") from error


@dataclass(frozen=True)
class _Reader:
    """What a file declares, its name for messages, and the folder that paths are relative to."""

    table: Mapping[str, Any]
    words: str
    folder: Path

    def job(self, *, args: Sequence[str], main_class: str | None, verbose: bool) -> Job:
        for key in self.table:
            if key not in _KEYS:
                self.refuse(key, f"is not known; known are {', '.join(_KEYS)}")
        if "entry-point" not in self.table:
            raise UsageError(f"{self.words} has no entry-point; name the job's .py or .jar")
        entry = self.shipped("entry-point", self.text("entry-point"))
        if entry.suffix not in SUFFIXES or not entry.is_file():
            self.refuse("entry-point", f"{entry.name} is no .py and no .jar; name the file that starts the job")
        inputs, outputs = self.places("inputs"), self.places("outputs")
        self.check_apart(inputs, outputs)
        job = Job(
            name=entry.name,
            entry=entry,
            main_class=main_class or self.optional("main-class"),
            modules=self.modules(),
            files=self.unlike("files"),
            jars=self.unlike("jars"),
            requirements=self.file("requirements"),
            packages=self.packages(),
            args=(*self.strings("args"), *args),
            env=self.env(),
            secrets=self.secrets(),
            inputs=inputs,
            outputs={name: Output(location=location) for name, location in outputs.items()},
            settings=self.settings(),
            release=self.release(),
            instance_type=self.instance_type(),
            declared_in=self.words,
            verbose=verbose,
        )
        if job.main_class and entry.suffix != ".jar":
            self.refuse("main-class", f"{job.main_class} is of a .jar, and the entry point is {entry.name}")
        return job

    def refuse(self, key: str, what: str) -> NoReturn:
        raise UsageError(f"{self.words}: {escape(key)} {escape(what)}")

    def text(self, key: str) -> str:
        value = self.table[key]
        if not isinstance(value, str) or not value:
            self.refuse(key, f"is {value!r}; write a text in quotes")
        return value

    def optional(self, key: str) -> str | None:
        return self.text(key) if key in self.table else None

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.refuse(key, f'is {value!r}; write a list of texts, ["…", "…"]')
        if any("\0" in each for each in value):
            self.refuse(key, "has a zero byte in it; take it out")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            self.refuse(key, f"is {value!r}; write a table, [{key}]")
        return value

    def shipped(self, key: str, text: str) -> Path:
        """A path in the folder whose last name Spark takes."""
        pure = PurePosixPath(text)
        if not text or pure.is_absolute() or ".." in pure.parts:
            self.refuse(key, f"{text!r} leads out of the job's folder; name what lies in it")
        path = self.folder / text
        if not path.exists():
            self.refuse(key, f"{text}: no such file; correct the path")
        if not path.resolve().is_relative_to(self.folder):
            self.refuse(key, f"{text} is a link that leads out of the job's folder; put a copy there")
        if not _SHIPPED.fullmatch(path.name) or path.name.startswith("."):
            self.refuse(key, f"{text!r}: Spark takes names of letters, digits and . _ - + = @; rename it")
        return path

    def unlike(self, key: str) -> tuple[Path, ...]:
        """Files, which will lie in one folder."""
        found = dict[str, Path]()
        for text in self.strings(key):
            path = self.shipped(key, text)
            if not path.is_file():
                self.refuse(key, f"{text} is no file; name each of its files, or make it an input")
            if path.name in found:
                self.refuse(key, f"{text} has the name of another one; rename it")
            if key == "jars" and path.suffix != ".jar":
                self.refuse(key, f"{text} is no .jar")
            found[path.name] = path
        return tuple(found.values())

    def file(self, key: str) -> Path | None:
        text = self.optional(key)
        if text is None:
            return None
        path = self.shipped(key, text)
        if not path.is_file():
            self.refuse(key, f"{text} is no file; correct the path")
        return path

    def modules(self) -> tuple[Path, ...]:
        found = dict[str, Path]()
        for text in self.strings("modules"):
            path = self.shipped("modules", text)
            if not (path.is_dir() or path.suffix == ".py") or not path.stem.isidentifier():
                self.refuse("modules", f"{text} is no package (a folder) and no module (a .py) that Python imports")
            if path.stem in found:
                self.refuse("modules", f"{text} has the name of another one; rename it")
            members = list(package.members(path))
            if not any(name.endswith(".py") for name, _ in members):
                self.refuse("modules", f"{text} holds no .py; correct the path")
            found[path.stem] = path
        return tuple(found.values())

    def packages(self) -> tuple[str, ...]:
        found = self.strings("packages")
        for text in found:
            if not _COORDINATE.fullmatch(text):
                self.refuse("packages", f"{text!r} is no Maven coordinate; write group:artifact:version")
        return found

    def env(self) -> dict[str, str]:
        found = self.mapping("env")
        for name, value in found.items():
            if not _VARIABLE.fullmatch(name):
                self.refuse(f"env.{name}", "is no name of a variable; write letters, digits and _")
            if not isinstance(value, str) or "\0" in value:
                self.refuse(f"env.{name}", f"is {value!r}; write a text in quotes")
        return found

    def secrets(self) -> tuple[str, ...]:
        found = self.strings("secrets")
        for name in found:
            if not _VARIABLE.fullmatch(name):
                self.refuse("secrets", f"{name!r} is no name of a variable: names stand here, never values")
            if name in self.mapping("env"):
                self.refuse("secrets", f"{name} stands in env, too; take it out there")
        return found

    def settings(self) -> tuple[Setting, ...]:
        found = list[Setting]()
        for key, value in self.mapping("spark").items():
            if isinstance(value, dict):
                self.refuse(
                    f"spark.{key}", 'is a table; write the whole name in quotes: "spark.executor.memory" = "2g"'
                )
            if not key.startswith("spark."):
                self.refuse(f"spark.{key}", f'is no Spark setting; write "spark.{key}"')
            if key in _OF_TARGET:
                self.refuse(f"spark.{key}", "is the target's to say; take it out")
            if not isinstance(value, str | int | float) or {"\n", "\0"} & set(str(value)):
                self.refuse(f"spark.{key}", f"is {value!r}; write a text, a number, true or false")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found.append(Setting(key, text, f"the job's own, in {self.words}"))
        return tuple(found)

    def places(self, kind: str) -> dict[str, str]:
        """Folders, relative to the declaration's, or s3:// prefixes, by name."""
        found = dict[str, str]()
        for name, value in self.mapping(kind).items():
            key = f"{kind}.{name}"
            if not _NAME.fullmatch(name):
                self.refuse(key, "is no name; write letters, digits, - and _")
            if not isinstance(value, str) or not value or "\0" in value:
                self.refuse(key, f"is {value!r}; write a folder, or s3://bucket/prefix")
            try:
                text = value if "://" in value else str(self.folder / Path(value).expanduser())
                found[name] = settings.location(text, flag=f"{self.words}: {key}")
            except settings.UsageError as error:
                raise UsageError(str(error)) from error
            except (RuntimeError, ValueError) as error:  # no such user, links in a circle, no address
                self.refuse(key, f"{value}: {error}; correct it")
        return found

    def check_apart(self, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        """No name twice, and nothing written where something else is read or written."""
        for name in inputs.keys() & outputs.keys():
            self.refuse(f"outputs.{name}", "is an input's name, too; choose another")
        for name, target in outputs.items():
            if Path(self.folder).is_relative_to(target):
                self.refuse(f"outputs.{name}", f"{target} has the job itself in it; choose a folder beside it")
            others = {**{f"inputs.{key}": value for key, value in inputs.items()}}
            others |= {f"outputs.{key}": value for key, value in outputs.items() if key != name}
            for other, location in others.items():
                if f"{target}/".startswith(f"{location}/") or f"{location}/".startswith(f"{target}/"):
                    self.refuse(f"outputs.{name}", f"{target} and {other} lie in each other; choose places apart")

    def release(self) -> str | None:
        label = self.optional("release")
        if label is not None and label not in releases.labels():
            self.refuse("release", f"{label} is none of {', '.join(releases.labels())}")
        return label

    def instance_type(self) -> str | None:
        name = self.optional("instance-type")
        if name is not None:
            try:
                sizing.instance(name)
            except EmrlabError as error:
                self.refuse("instance-type", str(error))
        return name


_KEYS = (
    "entry-point",
    "main-class",
    "modules",
    "files",
    "jars",
    "requirements",
    "packages",
    "args",
    "env",
    "secrets",
    "spark",
    "inputs",
    "outputs",
    "release",
    "instance-type",
)
