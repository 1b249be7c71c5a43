"""What an image copies of this repository: all that its programs import of it, without what the image has not."""

import fnmatch
import re
import shutil
import subprocess
import sys

import pytest

from base.paths import ROOT

# Of the interpreters, -S is one without any package.
BARE, WITH_PACKAGES = ("-I", "-S", "-B"), ("-I", "-B")
PROGRAMS = [
    ("docker/node/Dockerfile", "emr", "/usr/lib/emrlab", "emr_lab.node.__main__", BARE),
    ("docker/node/Dockerfile", "standalone", "/usr/lib/emrlab", "base.sizing", BARE),
    ("docker/emr/Dockerfile", None, "/opt/lab", "emr_lab.endpoint.__main__", WITH_PACKAGES),
    ("docker/s3/Dockerfile", "lab", "/opt/lab", "lab.credentials", BARE),
    ("docker/s3/Dockerfile", "lab", "/opt/lab", "lab.bucket", WITH_PACKAGES),
]


def copy_stage(dockerfile, stage, image):
    """Do the COPY instructions of a stage (None: the last) that take files of this repository, below `image`."""
    text = dockerfile.read_text().replace("\\\n", " ")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
    (instructions,) = [each for each in stages if re.match(rf"\S+ AS {stage}\n", each)] if stage else stages[-1:]
    for arguments in re.findall(r"^COPY (?!--from)(.*)$", instructions, flags=re.MULTILINE):
        _, *sources, target = arguments.split()
        assert all(is_sent(source) for source in sources), f"{arguments}: .dockerignore keeps it back"
        for source in sources:
            place = image / target.lstrip("/")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)


def is_sent(source):
    """Whether .dockerignore lets it into the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    return any(fnmatch.fnmatch(source, name) or source.startswith(f"{name}/") for name in let_in)


@pytest.mark.parametrize(("dockerfile", "stage", "folder", "module", "flags"), PROGRAMS, ids=str)
def test_a_program_finds_in_its_image_what_it_imports(dockerfile, stage, folder, module, flags, tmp_path):
    copy_stage(ROOT / dockerfile, stage, tmp_path)
    place = tmp_path / folder.lstrip("/")
    script = f"import sys, importlib; sys.path.insert(0, {str(place)!r}); importlib.import_module({module!r})"
    ran = subprocess.run(
        [sys.executable, *flags, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "dockerfile", sorted((ROOT / "docker").glob("*/Dockerfile")), ids=lambda path: path.parent.name
)
def test_an_images_user_reads_what_a_checkout_under_umask_077_has(dockerfile):
    copied = re.findall(r"^COPY (?!--from)(.*)$", dockerfile.read_text(), flags=re.MULTILINE)
    assert all(arguments.startswith("--chmod=755 ") for arguments in copied), copied


@pytest.mark.parametrize("dockerfile", ["docker/node/Dockerfile", "docker/emr/Dockerfile"])
def test_an_image_starts_a_program_that_there_is(dockerfile):
    entrypoint = r'^ENTRYPOINT \["python3?", (?:"-S", )?"-m", "(.*)"\]$'
    (module,) = re.findall(entrypoint, (ROOT / dockerfile).read_text(), re.MULTILINE)
    assert (ROOT / module.replace(".", "/") / "__main__.py").exists()
