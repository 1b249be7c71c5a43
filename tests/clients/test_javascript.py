"""AWS's SDK for JavaScript: tests/clients/javascript/steps.mjs."""

from __future__ import annotations

import json
from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab


def test_javascript(lab: Lab, tmp_path: Path):
    folder = environments.javascript()
    said = lab.run("node", folder / "steps.mjs", lab.label, BUCKET, cwd=tmp_path)
    cluster, step, state, machines = said.split()
    assert (state, machines) == ("COMPLETED", "2")
    assert "Pi is roughly 3.1" in lab.log(cluster, step, "stdout")
    package = json.loads((folder / "node_modules" / "@aws-sdk" / "client-emr" / "package.json").read_text())
    lab.told(f"AWS SDK for JavaScript {package['version']}", "instance fleets, a step, waiters and a paginator")
