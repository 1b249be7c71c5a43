"""`.env` is made once and kept; each service is handed what is its own and nothing more."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from base import env_files
from base.paths import ROOT
from lab import credentials


@pytest.fixture
def env_file(tmp_path):
    return tmp_path / "project" / ".env"


@pytest.fixture(autouse=True)
def _project(env_file):
    env_file.parent.mkdir()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_fresh_file_has_every_key_and_is_its_owners_alone(env_file):
    keys = credentials.ensure(env_file)
    assert set(keys) == {
        "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "JOB_ACCESS_KEY_ID", "JOB_SECRET_ACCESS_KEY", "DATA_ACCESS_KEY_ID",
        "DATA_SECRET_ACCESS_KEY", "HISTORY_ACCESS_KEY_ID", "HISTORY_SECRET_ACCESS_KEY", "SPARK_AUTH_SECRET",
        "SPARK_CONNECT_TOKEN",
    }  # fmt: skip
    assert env_files.read(env_file) == keys
    assert mode(env_file) == 0o600
    assert [path.name for path in env_file.parent.iterdir()] == [".env"], "nothing half made is left beside it"


def test_keys_are_what_minio_takes_and_never_the_same_twice(env_file):
    keys = credentials.ensure(env_file)
    assert len(set(keys.values())) == 10
    for name, value in keys.items():
        assert value.replace("-", "").replace("_", "").isalnum()
        assert (
            len(value) == 40
            if name.endswith(("PASSWORD", "SECRET", "SECRET_ACCESS_KEY", "TOKEN"))
            else 3 <= len(value) <= 20
        )
    env_file.unlink()
    assert not set(credentials.ensure(env_file).values()) & set(keys.values())


def test_what_is_there_stays_to_the_letter_and_what_is_missing_is_added(env_file):
    before = '# mine\nS3_PORT=0\nexport JOB_ACCESS_KEY_ID="my-job"\nMINIO_ROOT_PASSWORD = kept-password'
    env_file.write_text(before)
    keys = credentials.ensure(env_file)
    after = env_file.read_text()
    assert after.startswith(before + "\n")
    assert (keys["JOB_ACCESS_KEY_ID"], keys["MINIO_ROOT_PASSWORD"]) == ("my-job", "kept-password")
    assert after.count("JOB_ACCESS_KEY_ID") == 1
    assert credentials.ensure(env_file) == keys
    assert env_file.read_text() == after


def test_a_link_stays_and_what_it_leads_to_gets_the_keys(env_file, tmp_path):
    env_file.symlink_to("shared.env")
    keys = credentials.ensure(env_file)
    assert env_file.is_symlink()
    assert env_files.read(env_file.parent / "shared.env") == keys
    assert credentials.forget(env_file)
    assert env_file.is_symlink()


def test_a_link_out_of_what_a_container_sees_is_not_replaced(env_file, tmp_path, capsys):
    """The folder alone is in it: there the keys behind the link are not, and others in its place would be nobody's."""
    env_file.symlink_to(tmp_path / "elsewhere" / ".env")
    assert credentials.main(["--env-file", str(env_file)]) == 2
    assert capsys.readouterr().err == (
        f"error: {env_file} is a link to {tmp_path}/elsewhere/.env, which is not there; put a file in its place\n"
    )
    assert env_file.is_symlink()


def test_a_file_that_others_can_read_is_closed(env_file):
    keys = credentials.ensure(env_file)
    env_file.chmod(0o644)
    assert credentials.ensure(env_file) == keys
    assert mode(env_file) == 0o600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("JOB_SECRET_ACCESS_KEY=", "has 0 characters, 8 are the fewest; remove that line, a new key is made"),
        (
            "MINIO_ROOT_PASSWORD=short",
            "has 5 characters, 8 are the fewest; give a longer one, or remove that line",
        ),
        ("SPARK_AUTH_SECRET=easy", "has 4 characters, 32 are the fewest; give a longer one, or remove that line"),
    ],
)
def test_a_key_that_cannot_be_used_is_one_line_without_the_key(env_file, line, words, capsys):
    env_file.write_text(line + "\n")
    assert credentials.main(["--env-file", str(env_file)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {line.split('=', maxsplit=1)[0]} in {env_file} {words}\n"
    assert env_file.read_text() == line + "\n"


def test_each_service_is_handed_its_own(env_file, tmp_path):
    keys = credentials.ensure(env_file)
    folder = tmp_path / "run"
    for _ in range(2):  # as at every start
        credentials.hand_out(keys, folder, uid=os.getuid())
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(files) == {
        "root/user", "root/password", "init/env", "job/env", "history/env", "emr/env", "spark/auth.conf",
        "connect/token",
    }  # fmt: skip
    assert all(mode(path) == 0o400 for path in files.values())
    assert files["root/password"].read_text() == keys["MINIO_ROOT_PASSWORD"]
    secret = keys["SPARK_AUTH_SECRET"]
    assert files["spark/auth.conf"].read_text() == f"spark.authenticate true\nspark.authenticate.secret {secret}\n"
    assert files["connect/token"].read_text() == keys["SPARK_CONNECT_TOKEN"]
    others = {name: keys[name] for name in keys if not name.startswith("SPARK_")}
    assert env_files.read(files["init/env"]) == others
    for user in ("job", "history"):
        assert env_files.read(files[f"{user}/env"]) == {
            "AWS_ACCESS_KEY_ID": keys[f"{user.upper()}_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": keys[f"{user.upper()}_SECRET_ACCESS_KEY"],
        }
    laptop = {name: value for name, value in keys.items() if name.startswith("DATA_")}
    assert env_files.read(files["emr/env"]) == env_files.read(files["job/env"]) | laptop


def test_the_container_runs_it_with_what_it_has_and_says_nothing(env_file, tmp_path):
    """As docker/s3 lays it out, with the standard library alone. Giving files away takes root, as the container has."""
    image, folder = tmp_path / "image", tmp_path / "run"
    shutil.copytree(ROOT / "base", image / "base", ignore=shutil.ignore_patterns("__pycache__"))
    (image / "lab").mkdir()
    shutil.copy(ROOT / "lab" / "credentials.py", image / "lab")
    args = ["--env-file", str(env_file), "--hand-out", str(folder)]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "lab.credentials", *args], cwd=image, capture_output=True, text=True, check=False
    )
    if os.getuid() == 0:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (folder / "job" / "env").stat().st_uid == credentials.READER_UID
        assert folder.joinpath("job").stat().st_uid == credentials.READER_UID
    else:
        assert done.returncode == 1
        assert done.stderr.endswith("this user must be able to write it\n")
    assert env_file.stat().st_uid == env_file.parent.stat().st_uid


def test_no_folder_is_one_line(tmp_path, capsys):
    assert credentials.main(["--env-file", str(tmp_path / "gone" / ".env")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/gone")
    assert len(error.splitlines()) == 1


def test_forgetting_takes_the_labs_keys_and_nothing_else(env_file):
    assert not credentials.forget(env_file)
    credentials.ensure(env_file)
    assert credentials.forget(env_file)
    assert not env_file.exists()
    env_file.write_text("S3_PORT=0\n")
    credentials.ensure(env_file)
    credentials.forget(env_file)
    assert env_file.read_text() == "S3_PORT=0\n"
