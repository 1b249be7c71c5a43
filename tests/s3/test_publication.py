"""Every call of a publication fails once, one by one and all of them: the results are those of one left alone."""

from __future__ import annotations

import pytest

from pipeline import lease, patience, publication, results, store
from tests.s3.proxy import Fault, Rule

KEY = "0123456789abcdef"
ONE, TWO = "11111111", "22222222"
FIRST = ("labels.json", "model/pca/data/x", "report.html")
SECOND = ("labels.json", "rejected/r.parquet", "report.html")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "LONGEST_S", 0.01)
    monkeypatch.setattr(patience, "SHORTEST_S", 0.01)


def run(output, name, parts):
    """A run without Spark: it owns the output, prepares its files and publishes them."""
    with lease.hold(output, name) as confirm:
        publication.begin(output, confirm=confirm)
        for part in parts:
            store.write(f"{results.workspace(output, name)}/{part}", f"{name} {part}".encode())
        feature = f"{KEY}-{name}-0.parquet"
        store.write(f"{results.staging(output)}/features/{feature}", name.encode())
        publication.publish(output, {"run": name}, features={feature: len(name)}, confirm=confirm)


def content(output):
    return {name: store.read(f"{output}/{name}") for name, _ in store.sizes(output) if name != results.RUN}


@pytest.fixture
def two_runs(bucket, proxy):
    """One run undisturbed, the next with what `disturb` does to the proxy; what is there then."""

    def call(name, disturb):
        output = f"s3://{bucket.name}/{name}"
        run(output, ONE, FIRST)
        proxy.clear()
        disturb()
        run(output, TWO, SECOND)
        requests = len(proxy.requests)
        proxy.clear()
        assert store.read_json(f"{output}/run.json")["run"] == TWO
        return content(output), requests

    return call


@pytest.mark.parametrize(
    "fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.LOST, Fault.UNSAID], ids=lambda fault: fault.name
)
def test_every_call_fails_before_it_succeeds(two_runs, proxy, fault):
    rules = []
    disturbed, _ = two_runs("disturbed", lambda: rules.append(proxy.hit(fault, ".", last=10**6, step=2)))
    expected, requests = two_runs("undisturbed", lambda: None)
    assert disturbed == expected
    assert len(rules[0].struck) >= requests / 2


def test_each_answer_in_turn_is_lost(two_runs, proxy):
    expected, requests = two_runs("undisturbed", lambda: None)
    for number in range(1, requests + 1):
        rules = list[Rule]()
        found, _ = two_runs(f"{number}", lambda at=number, rules=rules: rules.append(proxy.hit(Fault.LOST, ".", at)))
        assert found == expected
        assert rules[0].struck


def test_a_run_json_that_s3_is_busy_with_is_put_again(two_runs, proxy):
    rules = []
    found, _ = two_runs("busy", lambda: rules.append(proxy.hit(Fault.CONFLICT, "^PUT .*/run.json", last=3)))
    assert found
    assert len(rules[0].struck) == 3
