"""File names that are written otherwise, and read back."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import escape, unescape

ODD = st.text(st.sampled_from("\\x0959cf/a\té\x1b\x85\udcff\udcc3"))
NAMES = (st.binary() | ODD.map(os.fsencode)).map(os.fsdecode)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("Kiwi/é ü \u200d.jpg", "Kiwi/é ü \u200d.jpg"),
        ("back\\slash.jpg", "back\\slash.jpg"),
        ("tab\t.jpg", "tab\\x09.jpg"),
        ("tab\\x09.jpg", "tab\\x5cx09.jpg"),
        ("latin\udce9.jpg", "latin\\xe9.jpg"),
        ("next\x85line.jpg", "next\\xc2\\x85line.jpg"),
    ],
)
def test_only_what_nothing_can_show_is_written_otherwise(path, written):
    assert escape(path) == written


@given(NAMES)
def test_every_name_is_read_back_and_shown_on_one_line(path):
    written = escape(path)
    assert unescape(written) == path
    assert written.encode().decode() == written
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in written)
