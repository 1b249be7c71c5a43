"""The labs are on this machine: whoever speaks to them asks no proxy, also where the environment names one."""

from __future__ import annotations

import os

THIS_MACHINE = ("127.0.0.1", "localhost")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
_SPARED = ("no_proxy", "NO_PROXY")  # of these clients read one or the other


def spare_this_machine() -> None:
    """Have this machine among the hosts that this process, and what it starts, reaches without a proxy."""
    os.environ.update(sparing())


def sparing() -> dict[str, str]:
    """The variables that say so to any client, without a space; none where no proxy is asked, or for no host (`*`)."""
    if not any(name.lower() in _PROXIES for name in os.environ):
        return {}
    either = next(filter(None, map(os.environ.get, _SPARED)), "")
    variables = dict[str, str]()
    for name in _SPARED:
        hosts = (os.environ.get(name) or either).replace(",", " ").split()
        if "*" not in hosts:
            variables[name] = ",".join([*hosts, *(host for host in THIS_MACHINE if host not in hosts)])
    return variables
