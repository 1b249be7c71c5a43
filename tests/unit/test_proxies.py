"""NO_PROXY gets this machine, and keeps what it has."""

import os

import pytest

from base import proxies

NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.mark.parametrize(
    ("given", "spared"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {"NO_PROXY": "a"}),
        ({"http_proxy": "x"}, {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}),
        (
            {"HTTPS_PROXY": "x", "NO_PROXY": ".corp,localhost"},
            {"no_proxy": ".corp,localhost,127.0.0.1", "NO_PROXY": ".corp,localhost,127.0.0.1"},
        ),
        (
            {"ALL_PROXY": "x", "no_proxy": "a", "NO_PROXY": "b"},
            {"no_proxy": "a,127.0.0.1,localhost", "NO_PROXY": "b,127.0.0.1,localhost"},
        ),
        ({"http_proxy": "x", "no_proxy": "*"}, {"no_proxy": "*"}),
        (
            {"http_proxy": "x", "no_proxy": ".corp, 10.0.0.1"},
            {"no_proxy": ".corp,10.0.0.1,127.0.0.1,localhost", "NO_PROXY": ".corp,10.0.0.1,127.0.0.1,localhost"},
        ),
    ],
)
def test_this_machine_is_spared_and_whoever_was(monkeypatch, given, spared):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what is set is undone
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        proxies.spare_this_machine()
        assert {name: os.environ[name] for name in ("no_proxy", "NO_PROXY") if name in os.environ} == spared
