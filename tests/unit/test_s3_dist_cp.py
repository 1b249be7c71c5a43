"""S3DistCp's options, and which file comes where."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import UsageError
from base.paths import ROOT
from emr_lab.node.s3_dist_cp import MB, File, options, plan

ROOT_URI = "s3://bucket/in"


def copies(names: dict[str, int], *flags: str) -> dict[str, list[str]]:
    """Sources by the targets, below source and destination."""
    files = [File(uri=f"{ROOT_URI}/{name}", size=size) for name, size in names.items()]
    asked = options(["--src", ROOT_URI, "--dest", "hdfs:///out", *flags])
    found = plan(files, asked, root=ROOT_URI)
    return {
        each.target.removeprefix("hdfs:///out/"): [uri.removeprefix(f"{ROOT_URI}/") for uri in each.sources]
        for each in found
    }


def test_every_file_keeps_its_place():
    assert copies({"a.txt": 1, "b/c.gz": 2}) == {"a.txt": ["a.txt"], "b/c.gz": ["b/c.gz"]}


def test_a_single_file_comes_under_its_name():
    asked = options(["--src", f"{ROOT_URI}/a.txt", "--dest", "hdfs:///out/"])
    (copy,) = plan([File(uri=f"{ROOT_URI}/a.txt", size=1)], asked, root=f"{ROOT_URI}/a.txt")
    assert copy.target == "hdfs:///out/a.txt"


def test_a_pattern_has_to_match_the_whole_uri():
    names = {"a.txt": 1, "a.log": 1}
    assert copies(names, "--srcPattern", r".*\.log") == {"a.log": ["a.log"]}
    with pytest.raises(UsageError, match="no file below s3://bucket/in"):
        copies(names, "--srcPattern", r"\.log")


def test_files_of_a_group_become_one():
    names = {"1/x-access.log": 1, "2/y-access.log": 1, "2/z-error.log": 1, "2/other": 1}
    assert copies(names, r"--groupBy=.*-(\w+\.log)") == {
        "1/access.0.log": ["1/x-access.log", "2/y-access.log"],
        "2/error.log": ["2/z-error.log"],
    }


def test_a_joined_file_is_ended_when_it_is_large_enough():
    names = {f"{number}-x": MB for number in range(5)}
    found = copies(names, "--groupBy", ".*-(x)", "--targetSize", "2")
    assert found == {"x.0": ["0-x", "1-x"], "x.1": ["2-x", "3-x"], "x.2": ["4-x"]}


def test_names_follow_the_codec():
    names = {"a.gz": 1, "b.txt": 1}
    assert list(copies(names, "--outputCodec", "none")) == ["a", "b.txt"]
    assert list(copies(names, "--outputCodec", "gz")) == ["a.gz", "b.txt.gz"]


def test_braces_are_letters_like_others():
    assert copies({"a{}.txt": 1, "{0}/b": 1}) == {"a{}.txt": ["a{}.txt"], "{0}/b": ["{0}/b"]}
    found = copies({"1-{}.log": 1, "2-{}.log": 1}, "--groupBy", r".*-(\{\}\.log)", "--outputCodec", "gz")
    assert list(found) == ["{}.log.0.gz"]


def test_two_copies_for_one_place_are_refused():
    with pytest.raises(UsageError, match="the same place"):
        copies({"a": 1, "a.gz": 1}, "--outputCodec", "none")


@pytest.mark.parametrize("flags", [[], ["--deleteOnSuccess"]])
def test_a_copy_onto_its_source_is_refused(flags):
    asked = options(["--src", ROOT_URI, "--dest", ROOT_URI, *flags])
    with pytest.raises(UsageError, match="would replace what is copied"):
        plan([File(uri=f"{ROOT_URI}/a", size=1)], asked, root=ROOT_URI)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--src", "s3://b/"], "--dest"),
        (["--src", "a", "--dest", "b", "--groupBy", ".*"], "has no parentheses"),
        (["--src", "a", "--dest", "b", "--srcPattern", "("], "is no regular expression"),
        (["--src", "a", "--dest", "b", "--targetSize", "2"], "goes with --groupBy"),
        (["--src", "a", "--dest", "b", "--groupBy", "(.*)", "--targetSize", "0"], "1 or more MB"),
        (["--src", "a", "--dest", "b", "--outputCodec", "lzo"], "lzo"),
        (["--src", "a", "--dest", "b", "--copyFromManifest"], "--copyFromManifest"),
    ],
)
def test_what_the_lab_has_not_is_refused_in_one_line(flags, said):
    with pytest.raises(UsageError) as refused:
        options(flags)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def run(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    """The program itself, on files of this machine."""
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": "--master local[1] pyspark-shell", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "emr_lab.node.s3_dist_cp", *map(str, flags)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_files_are_joined_unpacked_and_removed(tmp_path: Path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "1-x.gz").write_bytes(gzip.compress(b"apple\n"))
    (source / "2-x").write_bytes(b"kiwi\n")
    (source / "stays").write_bytes(b"pear\n")
    flags = ("--groupBy", r".*-(x)(?:\.gz)?", "--outputCodec", "none", "--deleteOnSuccess")
    ran = run("--src", source, "--dest", target, *flags)
    assert (ran.returncode, ran.stdout) == (0, f"2 files copied to 1 below {target}\n"), ran.stderr
    assert (target / "x.0").read_bytes() == b"apple\nkiwi\n"
    assert sorted(path.name for path in source.iterdir() if path.suffix != ".crc") == ["stays"]


def test_a_copy_that_fails_leaves_what_was_there_and_nothing_half(tmp_path: Path):
    source, target = tmp_path / "i{n}", tmp_path / "ou{}t"
    source.mkdir()
    target.mkdir()
    (source / "a").write_bytes(b"apple\n" * 100_000)
    (source / "b.gz").write_bytes(gzip.compress(b"kiwi\n" * 100_000)[:-20])
    (target / "b").write_bytes(b"pear\n")
    ran = run("--src", source, "--dest", target, "--outputCodec", "none", "--deleteOnSuccess")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("error: java.io.EOFException: ")
    assert (target / "b").read_bytes() == b"pear\n"
    assert {path.name for path in target.iterdir()} - {".a.crc", ".b.crc"} == {"a", "b"}
    assert (source / "b.gz").exists()


def test_a_copy_takes_the_place_of_what_was_there(tmp_path: Path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    (source / "a").write_bytes(b"apple\n")
    (target / "a").write_bytes(b"pear\n")
    assert run("--src", source, "--dest", target).returncode == 0
    assert (target / "a").read_bytes() == b"apple\n"
    assert {path.name for path in target.iterdir()} - {".a.crc"} == {"a"}


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path):
    ran = run("--src", tmp_path / "none", "--dest", tmp_path / "out")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("error: java.io.FileNotFoundException: ")
