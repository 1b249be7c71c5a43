"""Waiting has an end, and looks once more when that has come."""

from types import SimpleNamespace

import pytest

from base import waiting


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves; returns the pauses."""
    pauses: list[float] = []
    monkeypatch.setattr(waiting, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))
    return pauses


def test_it_looks_at_once_then_at_intervals_and_once_more_at_the_end(clock):
    looks = [sum(clock) for _ in waiting.attempts(timeout_s=1.0, interval_s=0.4)]
    assert looks == pytest.approx([0, 0.4, 0.8, 1.2])


def test_it_looks_even_where_there_is_no_time(clock):
    assert next(waiting.attempts(timeout_s=0.0, interval_s=0.4), "never") is None
    assert not clock


def test_who_has_seen_it_waits_no_more(clock):
    for _ in waiting.attempts(timeout_s=1.0, interval_s=0.4):
        break
    assert not clock
