"""Rules that hold for the whole repository."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from docs import draw
from lab import doctor

ROOT = Path(__file__).parents[2]
OURS = {"base", "emrlab", "pipeline", "launch", "lab", "emr_lab", "bench", "docs", "tests"}
SPARK = {"py4j", "pyspark"}  # a cluster brings its own
# What each room may import of ours; bench, data, docs and tests: whatever they need.
MAY_IMPORT = {
    "base": {"base"},
    "emrlab": {"base", "emrlab", "lab", "pipeline.signals"},
    "pipeline": {"pipeline"},
    "launch": {
        "base",
        "launch",
        *(
            f"pipeline.{name}"
            for name in (
                "folder",
                "names",
                "patience",
                "progress",
                "redaction",
                "settings",
                "shards",
                "signals",
                "store",
                "summary",
            )
        ),
    },
    "lab": {"base", "lab"},
    "emr_lab/endpoint": {"base", "emr_lab.endpoint", "emr_lab.protocol"},
    "emr_lab/node": {"base", "emr_lab.node", "emr_lab.protocol"},
    "emr_lab/protocol": {"base", "emr_lab.protocol"},
}


def modules_of_the_job():
    """The modules that the group `job` of pyproject.toml brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {distribution_name(each) for each in project["dependency-groups"]["job"]}
    modules = importlib.metadata.packages_distributions()
    return {module for module, owners in modules.items() if named & set(map(distribution_name, owners))}


def distribution_name(requirement):
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names if node.module in OURS)


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline").glob("*.py")), ids=lambda path: path.name)
def test_the_job_imports_what_a_node_has(path):
    assert {name.split(".")[0] for name in imports(path)} <= {
        "pipeline", *SPARK, *sys.stdlib_module_names, *modules_of_the_job()
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "base").glob("*.py")), ids=lambda path: path.name)
def test_the_base_needs_the_standard_library_alone(path):
    assert {name.split(".")[0] for name in imports(path)} <= {"base", *sys.stdlib_module_names}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    for path in (ROOT / room).rglob("*.py"):
        ours = {name for name in imports(path) if name.split(".")[0] in OURS and name not in OURS}
        strange = {name for name in ours if not any(f"{name}.".startswith(f"{may}.") for may in MAY_IMPORT[room])}
        assert not strange, f"{path.name} imports {strange}"


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline").iterdir()), ids=lambda path: path.name)
def test_the_job_does_not_know_where_it_runs(path):
    if path.is_file():
        assert not re.findall(r"minio|emr|endpoint", path.read_text(), re.IGNORECASE)


def test_spark_is_the_default_releases():
    releases = tomllib.loads((ROOT / "releases.toml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = [name for name in project["project"]["dependencies"] if name.startswith("pyspark")]
    assert pinned == [f"pyspark=={releases[releases['default']]['spark']}"]


def test_what_is_installed_has_what_the_job_imports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    job, installed = project["dependency-groups"]["job"], project["project"]["dependencies"]
    assert {distribution_name(each) for each in set(installed) - set(job)} == {"boto3", "pip", "pyspark", "uv"}
    assert set(job) < set(installed)


def test_the_lock_has_hashes_and_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[a-z0-9][a-z0-9._-]*==[^\n]*", lock, re.MULTILINE)
    assert pins
    assert all(pin.endswith("\\") for pin in pins), "every pin is followed by its hashes"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = (project["project"]["optional-dependencies"], project["dependency-groups"])
    wanted = project["project"]["dependencies"] + [name for each in groups for rows in each.values() for name in rows]
    names = {re.split(r"[^A-Za-z0-9_-]", name)[0].lower() for name in wanted}
    assert names <= {"pip", *(pin.split("==")[0] for pin in pins)}  # a .venv comes with pip


def test_every_make_target_is_explained():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z][a-z0-9-]*):[^\n]*##", makefile, re.MULTILINE))
    assert targets
    assert targets == explained


PAGES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"),
    *("docs/emr.md", "docs/emr-lab.md", "docs/fixture.md", "docs/jobs.md", "docs/sessions.md"),
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_make_targets_that_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z][a-z0-9-]*)", (ROOT / page).read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_a_page_names_only_files_that_exist(page):
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    text = (ROOT / page).read_text().replace("test_x.py", "test_repository.py")
    for name in re.findall(rf"`((?:{folders})/[\w./*-]*)`|\]\(([\w./-]+\.md)", text):
        assert list(ROOT.glob(name[0] or name[1])), f"{name} in {page}"


def test_the_architecture_shows_who_may_import_what():
    rows = [f"| `{room}/` | {', '.join(f'`{name}`' for name in sorted(may))} |" for room, may in MAY_IMPORT.items()]
    table = "\n".join(["| room | may import |", "|---|---|", *rows, ""])
    assert table in (ROOT / "ARCHITECTURE.md").read_text(), table


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_variables_that_make_knows(page):
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"\$\(([A-Z_0-9]+)\)|[ ,]([A-Z_0-9]+),\$\(", makefile))
    known = {name for pair in known for name in pair} | set(
        re.findall(r"^export (.*)$", makefile, re.MULTILINE)[0].split()
    )
    commands = re.findall(r"make [a-z][a-z-]*[^`\n]*", (ROOT / page).read_text())
    named = {name for command in commands for name in re.findall(r"\b([A-Z][A-Z_0-9]+)=", command)}
    assert named <= known | {"PYTHON"}, f"{named - known} in {page}"


def test_the_readme_has_what_doctor_says():
    table = "".join(f"| {says} | {fix} |\n" for says, fix in doctor.table())
    assert table in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("picture", [draw.LAB, draw.EMR_LAB], ids=lambda picture: picture.path.name)
def test_the_pictures_are_drawn_from_compose(picture):
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert picture.path.read_text() == draw.draw(picture, services)
