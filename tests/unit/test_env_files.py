"""Files of variables are read as Docker Compose reads them, and what is written is read back."""

import pytest

from base import env_files, paths
from base.errors import UsageError


def test_a_file_is_read_as_compose_reads_it(tmp_path):
    (tmp_path / "x").write_text("# A=1\n\nB = b=c \nexport C='d e'\nD=\"\"\n  E=e\nno variable\n9=9\n")
    assert env_files.read(tmp_path / "x") == {"B": "b=c", "C": "d e", "D": "", "E": "e"}


def test_a_comment_behind_a_value_is_none_of_it(tmp_path):
    """As Docker Compose 2.26 tells them; with one of ours `make up` took the comment for a part of the port."""
    lines = ["A=9100 # mine", 'B="q # q" # c', "C=a#b", "D= # c", "E=x #", "F='it # s' # y", 'G="it\'s"', "H='a"]
    (tmp_path / "x").write_text("\n".join(lines))
    assert env_files.read(tmp_path / "x") == {
        "A": "9100", "B": "q # q", "C": "a#b", "D": "# c", "E": "x", "F": "it # s", "G": "it's", "H": "'a"
    }  # fmt: skip


def test_a_file_of_other_editors(tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert env_files.read(tmp_path / "x") == {"A": "1", "B": "2"}
    (tmp_path / "x").write_bytes("# für mich\nA=1\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"x is no text in UTF-8 .* at byte 3.; save it as such"):
        env_files.read(tmp_path / "x")


def test_what_is_written_is_read_back(tmp_path):
    variables = {"AWS_ACCESS_KEY_ID": "job-1", "AWS_SECRET_ACCESS_KEY": "a=b-_"}
    (tmp_path / "x").write_text(env_files.lines(variables))
    assert env_files.read(tmp_path / "x") == variables


def test_only_the_checkouts_own_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    assert env_files.read_dotenv() == {}
    with pytest.raises(FileNotFoundError):
        env_files.read(tmp_path / ".env")
