import time
from threading import Event, Thread

import pytest

from pipeline.budget import Budget


class Holder(Thread):
    """Asks for `size_b`, and holds it until it is let go."""

    def __init__(self, budget: Budget, size_b: int) -> None:
        super().__init__(daemon=True)
        self.budget, self.size_b = budget, size_b
        self.has, self.enough = Event(), Event()
        self.start()

    def run(self):
        with self.budget.hold(self.size_b):
            self.has.set()
            self.enough.wait(60)

    def let_go(self):
        self.enough.set()
        self.join(60)
        assert not self.is_alive()


def wait_for(budget: Budget, *, waiting: int) -> None:
    deadline = time.monotonic() + 60
    while budget.waiting < waiting:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_does_not_fit_waits_and_what_came_later_waits_behind_it():
    budget = Budget(100)
    first = Holder(budget, 70)
    assert first.has.wait(60)
    large = Holder(budget, 80)
    wait_for(budget, waiting=1)
    small = Holder(budget, 10)  # there would be room, but then a stream of small ones would keep the large one out
    wait_for(budget, waiting=2)
    assert not large.has.is_set()
    assert not small.has.is_set()
    first.let_go()
    assert large.has.wait(60)
    assert small.has.wait(60)  # beside the large one: 90 of 100
    large.let_go()
    small.let_go()
    with budget.hold(100):
        pass


def test_what_fits_beside_others_does_not_wait():
    budget = Budget(100)
    with budget.hold(50), budget.hold(50):
        pass


def test_an_error_gives_back_what_was_held():
    budget = Budget(100)
    with pytest.raises(KeyError), budget.hold(100):
        raise KeyError
    with budget.hold(100):
        pass


def test_what_can_never_be_had_is_refused_at_once():
    with pytest.raises(ValueError, match="101 bytes asked of a budget of 100"), Budget(100).hold(101):
        pass
