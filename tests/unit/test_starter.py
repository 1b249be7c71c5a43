"""`emrlab init`: the job that it writes, and what it leaves alone."""

import pytest

from base import command_line
from launch import __main__ as cli
from launch import job_file

FILES = {".gitignore", "emrlab.toml", "job.py", "test_job.py", "texts/rhyme.txt"}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_job_with_its_test_is_written_into_a_folder_that_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "_installed", {"run", "up"})
    folder = tmp_path / "my jobs" / "first"
    assert cli.main(["init", str(folder)]) == 0
    assert files(folder).keys() == FILES
    assert f"emrlab up && emrlab run --target lab '{folder}'\n" in capsys.readouterr().out


def test_what_is_written_is_a_job_and_need_not_be_named_in_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--explain"]) == 2
    assert "no JOB, no emrlab.toml here" in capsys.readouterr().err
    cli.main(["init"])
    job = job_file.read(".")
    assert (job.entry.name, set(job.inputs), set(job.outputs)) == ("job.py", {"texts"}, {"counts"})
    capsys.readouterr()
    assert cli.main(["run", "--explain", "--", "--more"]) == 0
    assert "spark.master = local" in capsys.readouterr().out


def test_without_a_name_it_is_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["init"]) == 0
    assert files(tmp_path).keys() == FILES | {"notes.txt"}


@pytest.mark.parametrize("mine", sorted(FILES))
def test_nothing_is_overwritten_and_nothing_written_beside_it(tmp_path, capsys, mine):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).symlink_to("nowhere")
    assert cli.main(["init", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"has {mine} already" in error
    assert not files(tmp_path)


def test_a_file_in_the_folders_place_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["init", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
