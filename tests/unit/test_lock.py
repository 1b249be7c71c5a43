"""Requirements become a lock for the nodes, without an index: every wheel lies in a folder beside them."""

import hashlib
import platform
import re

import pytest

from launch.dependencies import lock, wheels
from launch.dependencies.lock import FetchError, Platform, RequirementsError
from tests import wheel

NODE = Platform(machine="aarch64", python="3.11", spark="4.1.1")
HERE = "--no-index\n--find-links wheels\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wheels").mkdir()
    return tmp_path


@pytest.fixture
def requirements(folder):
    """Writes the requirements; returns their path."""

    def write(*lines, name="requirements.txt"):
        path = folder / name
        path.write_text(HERE + "".join(f"{line}\n" for line in lines))
        return path

    return write


def make(folder, version, **kinds):
    path = wheel.make(folder / "wheels", version, **kinds)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def resolve(path, target=NODE):
    return lock.resolve(path, target, cache=path.parent / "cache")


def test_a_lock_is_for_the_nodes_and_not_for_this_machine(folder, requirements):
    make(folder, "1.0", name="here", tag="cp312-cp312-macosx_11_0_arm64")
    right = make(folder, "1.0", name="fast", tag="cp311-cp311-manylinux_2_34_aarch64")
    make(folder, "2.0", name="fast", tag="cp311-cp311-manylinux_2_39_aarch64")
    path = requirements("fast", "here; sys_platform == 'darwin'")
    assert lock.pins(resolve(path)) == {"fast": "1.0"}
    assert f"--hash=sha256:{right}" in resolve(path)


@pytest.mark.parametrize(
    ("own", "named", "machine"),
    [
        ("arm64", "", "aarch64"),
        ("x86_64", "", "x86_64"),
        ("arm64", "linux/amd64", "x86_64"),
        ("x86_64", "linux/arm64/v8", "aarch64"),
    ],
)
def test_packages_are_for_the_processor_that_docker_shows_its_containers(monkeypatch, own, named, machine):
    monkeypatch.setattr(platform, "machine", lambda: own)
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", named)
    assert lock.machine_here() == machine


def test_what_the_releases_spark_brings_is_left_out_and_what_its_extras_ask_for_is_not(folder, requirements):
    for name in ("pandas", "pyarrow", "numpy"):
        make(folder, "30.0", name=name)
    make(folder, "0.10.9.9", name="py4j")
    make(folder, "1.0", needs=["pyspark>=3"])
    assert set(lock.pins(resolve(requirements("tiny", "pyspark[sql]")))) == {"tiny", "pandas", "pyarrow", "numpy"}
    assert resolve(requirements("pyspark==4.1.1")) == ""


def test_another_spark_than_the_releases_is_refused(folder, requirements):
    make(folder, "0.10.9.9", name="py4j")
    with pytest.raises(RequirementsError, match=r"asks for another pyspark than 4\.1\.1, which the release brings"):
        resolve(requirements("pyspark==3.5.1"))


def test_what_has_no_wheel_is_refused_by_its_name(folder, requirements):
    make(folder, "1.0", name="tiny", needs=["native"])
    make(folder, "1.0", name="native", tag="cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(RequirementsError) as refused:
        resolve(requirements("tiny"))
    words = str(refused.value)
    assert "for Python 3.11 on Linux aarch64: native has no wheel, and nodes build nothing; " in words
    assert "\n" not in words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nothing-of-this-name", "nothing-of-this-name was not found"),
        ("tiny==9", "there is no version of tiny==9"),
        ("num py", "Couldn't parse requirement"),
        ("-r missing.txt", "missing.txt: No such file or directory"),
    ],
)
def test_what_cannot_be_met_is_one_line(folder, requirements, line, words):
    make(folder, "1.0")
    with pytest.raises(RequirementsError) as refused:
        resolve(requirements(line))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_of_sources_is_not_taken_for_a_package(folder, requirements):
    (folder / "mine").mkdir()
    (folder / "mine" / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n")
    with pytest.raises(RequirementsError, match=r"names ./mine, which is no package of an index"):
        resolve(requirements("./mine"))


def test_hashes_of_the_users_hold(folder, requirements):
    right, wrong = make(folder, "1.0"), "0" * 64
    given = resolve(requirements(f"tiny==1.0 \\\n    --hash=sha256:{right} \\\n    --hash=sha256:{wrong}"))
    assert re.findall("sha256:(.*)", given) == [right]
    with pytest.raises(RequirementsError, match=r"tiny==1\.0 is not the file that the hashes name"):
        resolve(requirements(f"tiny==1.0 --hash=sha256:{wrong}"))


def test_a_lock_that_lacks_a_package_is_refused(folder, requirements):
    digest = make(folder, "1.0", needs=["other"])
    make(folder, "1.0", name="other")
    with pytest.raises(RequirementsError, match=r"has hashes, but none for other==1\.0; make the lock anew"):
        resolve(requirements(f"tiny==1.0 --hash=sha256:{digest}"))


def test_every_run_gets_the_same_until_a_file_changes(folder, requirements):
    make(folder, "1.0")
    requirements("tiny", name="more.txt")
    path = requirements("-r more.txt")
    first = resolve(path)
    make(folder, "2.0")
    assert resolve(path) == first
    requirements("tiny>1", name="more.txt")
    assert lock.pins(resolve(path)) == {"tiny": "2.0"}


def test_an_index_password_is_in_no_error_and_no_lock(folder, requirements, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    path = folder / "requirements.txt"
    path.write_text("--index-url http://someone:hunter2@127.0.0.1:9/simple\ntiny\n")
    with pytest.raises(FetchError, match="no index answers") as failed:
        resolve(path)
    assert "hunter2" not in str(failed.value)
    assert "hunter2" in lock.index_options(path)
    make(folder, "1.0")
    path.write_text(f"--extra-index-url http://someone:hunter2@127.0.0.1:9/simple\n{HERE}tiny\n")
    assert "hunter2" not in resolve(path)


def test_a_full_disk_is_no_mistake_in_the_requirements(folder, requirements, monkeypatch):
    uv = folder / "uv"
    uv.write_text(
        "#!/bin/sh\necho 'error: Failed to write to the cache: No space left on device (os error 28)' >&2; exit 2\n"
    )
    uv.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(uv))
    with pytest.raises(
        FetchError, match=r"cache: No space left on device \(os error 28\); mend that on this machine's"
    ):
        resolve(requirements("tiny"))


def test_the_wheelhouse_and_the_folder_hold_what_the_lock_says(folder, requirements):
    target = lock.here()
    make(folder, "1.0", needs=["other"])
    make(folder, "3.0", name="other")
    path = requirements("tiny")
    options = {"cache": folder / "cache", "index_options": lock.index_options(path)}
    unpacked = wheels.unpack(resolve(path, target), target, **options)
    assert (unpacked / "tiny.py").read_text() == "VERSION = '1.0'\n"
    assert (unpacked / "other.py").exists()
    assert wheels.unpack(resolve(path, target), target, **options) == unpacked
    built = wheels.build(resolve(path), NODE, **options)
    assert wheels.find(resolve(path), NODE, cache=folder / "cache") == built


def test_the_same_text_beside_other_wheels_is_worked_out_anew(folder, requirements):
    make(folder, "1.0")
    first = resolve(requirements("tiny"))
    other = folder / "other"
    (other / "wheels").mkdir(parents=True)
    make(other, "2.0")
    (other / "requirements.txt").write_text((folder / "requirements.txt").read_text())
    second = lock.resolve(other / "requirements.txt", NODE, cache=folder / "cache")
    assert (lock.pins(first), lock.pins(second)) == ({"tiny": "1.0"}, {"tiny": "2.0"})


def test_a_wheel_that_was_built_again_under_its_name_is_the_one_that_runs(tmp_path):
    folder, target = tmp_path / "a job", lock.here()
    (folder / "wheels").mkdir(parents=True)
    make(folder, "1.0", needs=["other"])
    make(folder, "1.0", name="other")
    path = folder / "requirements.txt"
    path.write_text(f"{HERE}tiny\n")

    def unpacked():
        options = {"cache": folder / "cache", "index_options": lock.index_options(path)}
        return wheels.unpack(resolve(path, target), target, **options)

    first = unpacked()
    make(folder, "2.0", name="other")
    assert unpacked() == first, "a new version is no other wheel"
    built = wheel.make(folder / "wheels", "1.0", needs=["other"], says="VERSION = 'mended'\n")
    assert (unpacked() / "tiny.py").read_text() == "VERSION = 'mended'\n"
    again = resolve(path, NODE)
    assert hashlib.sha256(built.read_bytes()).hexdigest() in again
    assert wheels.build(again, NODE, cache=folder / "cache", index_options=lock.index_options(path)).path.exists()
