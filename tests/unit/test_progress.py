import io
from dataclasses import dataclass

import pytest

from pipeline import progress


@dataclass
class Count:
    value: int


def test_the_line_has_done_rate_eta_and_rejected():
    text = progress.line(1190, 10, total=20_160, seconds=3.0)
    assert text == "1,200/20,160 images · 400 images/s · ETA 47 s · rejected 10"
    assert "not known yet" in progress.line(0, 0, total=5, seconds=1.0)


@pytest.mark.parametrize(
    ("done", "rejected", "seconds"), [(0, 0, 0.0), (0, 0, 9.0), (1190, 10, 3.0), (1_999_999, 1, 0.1)]
)
def test_the_pattern_finds_the_line_in_a_log(done, rejected, seconds):
    text = progress.line(done, rejected, total=2_000_000, seconds=seconds)
    assert progress.PATTERN.findall(f"26/11 INFO\r\033[K{text}\n{text}\n") == [text.rpartition(" · ")[0]] * 2


def test_a_log_gets_whole_lines():
    out = io.StringIO()
    with progress.shown(Count(3), Count(1), total=4, live=False, out=out):
        pass
    assert out.getvalue().startswith("4/4 images")
    assert out.getvalue().endswith("rejected 1\n")
    assert "\r" not in out.getvalue()


def test_a_terminal_gets_one_live_line():
    out = io.StringIO()
    with progress.shown(Count(3), Count(1), total=4, live=True, out=out):
        pass
    assert out.getvalue().startswith("\r")
    assert out.getvalue().count("\n") == 1
