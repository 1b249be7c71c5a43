"""What the notebook's page shows, wherever its cells ran: the numbers of a run on the same photographs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path


def check(page: Path, results: Path, *, listed: int, rejected: int, secrets: Iterable[str]) -> None:
    """Hold a page to what a run left in the folder `results`, and to the secrets that it must not show."""
    text = page.read_text()
    said, record = html.unescape(re.sub(r"<[^>]+>", "", text)), json.loads((results / "run.json").read_text())
    good = listed - rejected
    assert f"{listed:,} listed = {good:,} with features + {rejected} rejected" in said
    assert f"k = {record['components']} components" in said
    metrics = json.loads((results / "metrics.json").read_text())
    hits = round(metrics["accuracy"] * metrics["test_images"])
    assert f"{hits:,} of {metrics['test_images']:,} test photographs are named rightly" in said
    assert f"{good:,} rows in " in said
    assert text.count("data:image/png;base64") >= 2, "photographs, and their features"
    assert text.count("<svg") >= 2, "the scree plot and the map"
    assert re.search(r"estimate +\$[0-9.]+: [0-9]+ minutes of 3 x m5.xlarge", said), "what the same costs as a step"
    assert not [secret for secret in secrets if secret in text]
