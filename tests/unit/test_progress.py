import io
from dataclasses import dataclass

from pipeline import progress


@dataclass
class Count:
    value: int


def test_the_line_has_done_rate_eta_and_rejected():
    text = progress.line(1190, 10, total=20_160, seconds=3.0)
    assert text == "1,200/20,160 images · 400 images/s · ETA 47 s · rejected 10"
    assert "not known yet" in progress.line(0, 0, total=5, seconds=1.0)


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
