"""A job of the user's own, read from a script, a folder and its declaration."""

import os
from pathlib import Path

import pytest

from base.errors import UsageError
from launch import job_file, listing, package, transfer

WHOLE = """
entry-point = "job.py"
modules = ["src/helpers", "single.py"]
files = ["config.json"]
args = ["--input", "{data}", "--json", '{"a": 1}']
secrets = ["API_KEY"]
release = "emr-7.14.0"
instance-type = "r5.xlarge"

[env]
PLACE = "{result}"

[spark]
"spark.sql.shuffle.partitions" = 3
"spark.speculation" = true

[inputs]
data = "data"
more = "s3://emrlab/images/more/"

[outputs]
result = "out/result"
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    home = tmp_path / "home"
    for name in ("src/helpers", "data", "outside"):
        (home / name).mkdir(parents=True)
    for name, text in {
        "job.py": "print(1)",
        "src/helpers/__init__.py": "",
        "src/helpers/words.py": "A = 1",
        "single.py": "",
        "config.json": "{}",
        "data/a.csv": "1",
        ".env": "SECRET=1",
        "other.py": "",
    }.items():
        (home / name).write_text(text)
    (tmp_path / "elsewhere.py").write_text("")
    return home


def declare(folder: Path, text: str) -> Path:
    (folder / "emrlab.toml").write_text(text)
    return folder


def test_a_declaration_is_read_whole(folder):
    job = job_file.read(str(declare(folder, WHOLE)), args=["--more"])
    assert (job.name, job.entry) == ("job.py", folder / "job.py")
    assert job.modules == (folder / "src/helpers", folder / "single.py")
    assert job.files == (folder / "config.json",)
    assert job.args == ("--input", "{data}", "--json", '{"a": 1}', "--more")
    assert job.inputs == {"data": str(folder / "data"), "more": "s3://emrlab/images/more"}
    assert {name: output.location for name, output in job.outputs.items()} == {"result": f"{folder}/out/result"}
    assert [(each.key, each.value) for each in job.settings] == [
        ("spark.sql.shuffle.partitions", "3"),
        ("spark.speculation", "true"),
    ]
    assert (job.secrets, job.release, job.instance_type) == (("API_KEY",), "emr-7.14.0", "r5.xlarge")


def test_names_stand_for_places_and_other_braces_stay(folder):
    job = job_file.read(str(declare(folder, WHOLE)))
    places = transfer.places(job, "emrlab")
    assert places["data"] == f"s3://emrlab/images/{transfer.place(folder / 'data')}"
    assert places["result"] == f"s3://emrlab/results/{transfer.place(folder / 'out/result')}"
    filled = job.filled(places)
    assert filled.args == ("--input", places["data"], "--json", '{"a": 1}')
    assert filled.env == {"PLACE": places["result"]}


def test_a_place_that_looks_like_a_name_is_no_name(folder):
    job = job_file.read(str(declare(folder, WHOLE)))
    assert job.filled({"data": "{result}", "result": "r"}).args[1] == "{result}"


def test_a_declaration_of_a_windows_editor_is_read(folder):
    (folder / "emrlab.toml").write_bytes(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())
    assert job_file.read(str(folder)).release == "emr-7.14.0"


def test_pyproject_and_a_bare_script_declare_jobs_too(folder):
    (folder / "pyproject.toml").write_text('[tool.emrlab]\nentry-point = "job.py"\nargs = ["a"]\n')
    assert job_file.read(str(folder)).args == ("a",)
    assert job_file.read(str(folder / "pyproject.toml")).args == ("a",)
    bare = job_file.read(str(folder / "job.py"), args=["b"])
    assert (bare.args, bare.inputs, bare.modules) == (("b",), {}, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no entry-point; name the job's .py or .jar"),
        ('entry-point = "job.py"\nnodes = 3', "nodes is not known; known are entry-point"),
        ("entry-point = 3", "entry-point is 3; write a text in quotes"),
        ('entry-point = "gone.py"', "entry-point gone.py: no such file; correct the path"),
        ('entry-point = "config.json"', "config.json is no .py and no .jar"),
        ('entry-point = "../elsewhere.py"', "leads out of the job's folder"),
        ('entry-point = "/etc/passwd"', "leads out of the job's folder"),
        ('entry-point = "link.py"', "link.py is a link that leads out of the job's folder"),
        ('entry-point = "job.py"\nmain-class = "A"', "main-class A is of a .jar"),
        ('entry-point = "job.py"\nargs = "a b"', 'args is \'a b\'; write a list of texts, ["…", "…"]'),
        ('entry-point = "job.py"\nfiles = [".env"]', "rename it"),
        ('entry-point = "job.py"\nfiles = ["a,b.txt"]', "rename it"),
        ('entry-point = "job.py"\nfiles = ["data"]', "data is no file"),
        ('entry-point = "job.py"\nfiles = ["config.json", "data/config.json"]', "has the name of another one"),
        ('entry-point = "job.py"\njars = ["config.json"]', "config.json is no .jar"),
        ('entry-point = "job.py"\nmodules = ["data"]', "data holds no .py"),
        ('entry-point = "job.py"\nmodules = ["linked"]', "is a link that leads out of"),
        ('entry-point = "job.py"\nmodules = ["pipe"]', "is no file and cannot be shipped"),
        ('entry-point = "job.py"\npackages = ["iceberg"]', "write group:artifact:version"),
        ('entry-point = "job.py"\nsecrets = ["KEY=hunter2"]', "names stand here, never values"),
        ('entry-point = "job.py"\n[env]\nA = 1', "env.A is 1; write a text in quotes"),
        ('entry-point = "job.py"\n[env]\n"A B" = "1"', "env.A B is no name of a variable"),
        ('entry-point = "job.py"\n[spark]\nspark.executor.memory = "2g"', "write the whole name in quotes"),
        ('entry-point = "job.py"\n[spark]\n"spark.master" = "yarn"', "spark.master is the target's to say"),
        ('entry-point = "job.py"\n[inputs]\ndata = 3', "inputs.data is 3; write a folder, or s3://bucket/prefix"),
        ('entry-point = "job.py"\n[inputs]\ndata = "gs://b/x"', "inputs.data gs://b/x: gs:// is not served"),
        ('entry-point = "job.py"\n[inputs]\ndata = "~nobody-here/x"', "inputs.data ~nobody-here/x: "),
        ('entry-point = "job.py"\n[spark]\n"spark.a" = "b\\u0000"', "spark.spark.a is"),
        ('entry-point = "job.py"\nmodules = ["odd"]', "has a name that cannot be shipped"),
        ('entry-point = "job.py"\n[outputs]\nresult = "."', "has the job itself in it"),
        ('entry-point = "job.py"\n[inputs]\na = "data"\n[outputs]\nb = "data/out"', "lie in each other"),
        ('entry-point = "job.py"\n[inputs]\na = "data"\n[outputs]\na = "out"', "is an input's name, too"),
        ('entry-point = "job.py"\nrelease = "emr-1"', "release emr-1 is none of emr-spark"),
        ('entry-point = "job.py"\ninstance-type = "m5.huge"', "instance-type"),
        ("entry-point = ", "correct the file"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(folder, text, words):
    (folder / "link.py").symlink_to(folder.parent / "elsewhere.py")
    (folder / "data" / "config.json").write_text("{}")
    (folder / "linked").mkdir()
    (folder / "linked" / "a.py").symlink_to(folder.parent / "elsewhere.py")
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "a.py")
    (folder / "odd").mkdir()
    (folder / "odd" / "a\nb.py").write_text("")
    (folder / "a,b.txt").touch()
    with pytest.raises(UsageError) as caught:
        job_file.read(str(declare(folder, text)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "emrlab.toml" in str(caught.value) or "link that leads out of" in words or "shipped" in words


@pytest.mark.parametrize("job", ["gone.py", "gone", "home/data", "home/config.json"])
def test_what_is_no_job_is_said(folder, monkeypatch, job):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(UsageError, match=r"correct the path|write one"):
        job_file.read(job)


def test_nothing_goes_that_was_not_named(folder, tmp_path):
    helpers = folder / "src" / "helpers"
    (helpers / "__pycache__").mkdir()
    (helpers / "__pycache__" / "words.cpython-311.pyc").write_text("")
    (helpers / ".secret").write_text("")
    (helpers / "table.txt").write_text("data of the package")
    job = job_file.read(str(declare(folder, WHOLE)))
    names = [name for module in job.modules for name, _ in package.members(module)]
    assert names == ["helpers/__init__.py", "helpers/table.txt", "helpers/words.py", "single.py"]
    built = package.build(job.entry, job.modules, cache=tmp_path / "cache")
    said = "\n".join(listing.lines(job, built))
    for words in ("job.py: 8 bytes", "helpers/words.py", "config.json: 2 bytes", "its input data: 1 bytes"):
        assert words in said
    assert "other.py" not in said
    assert ".env" not in said


def test_the_same_sources_make_the_same_package_and_a_change_another(folder, tmp_path):
    job = job_file.read(str(declare(folder, WHOLE)))
    digests = [package.build(job.entry, job.modules, cache=tmp_path / name).sha256 for name in ("a", "b")]
    (folder / "job.py").write_text("print(2)")
    digests.append(package.build(job.entry, job.modules, cache=tmp_path / "c").sha256)
    assert digests[0] == digests[1] != digests[2]
