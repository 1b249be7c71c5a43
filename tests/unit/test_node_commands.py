"""The commands of a node that stand in for EMR's."""

import os
import subprocess

import pytest

from base.paths import ROOT

pytestmark = pytest.mark.timeout(60)


COMMANDS = ROOT / "docker" / "node" / "emr" / "bin"


@pytest.mark.parametrize("flags", [["-n"], ["-u", "root", "-E"], ["--user", "root"], ["-u", "root", "A=b"], []])
def test_sudo_runs_the_command_as_whoever_asks(flags):
    ran = subprocess.run(
        [COMMANDS / "sudo", *flags, "sh", "-c", 'echo "$(id -u) $1"', "sh", "-n x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{os.getuid()} -n x\n"


def test_a_command_that_nodes_have_not_is_named_with_those_that_they_have(tmp_path):
    (tmp_path / "yarn").symlink_to(COMMANDS / "hadoop")
    ran = subprocess.run([tmp_path / "yarn", "daemonlog"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: yarn daemonlog: the lab's nodes have hadoop fs, hdfs dfs")
