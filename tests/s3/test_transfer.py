"""`launch run --target lab` up to Docker's door and back: S3 is moto's, `docker` and `spark-submit` are scripts."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import obstore
import pytest

from base import paths
from launch import __main__ as cli
from launch import image_job, package, storage, submit, transfer
from pipeline.settings import from_args

DOCKER = """#!{python}
import os, sys
if sys.argv[2] == "ps":
    print(open({said!r}).read())
else:
    assert sys.argv[1:5] == ["compose", "exec", "-T", "master"], sys.argv
    os.execvp(sys.argv[5], sys.argv[5:])
"""
# Leaves results as the job would, tells what it was given, ends as the test wants.
SPARK_SUBMIT = """#!{python}
import json, os, sys, boto3
args = sys.argv[1:]
client = boto3.client("s3")
output = args[args.index("--output") + 1].removeprefix("s3://").partition("/")[2]
names = ("report.html", "predictions.csv", "metrics.json")
for name in (*names, "run.json"):
    body = json.dumps({{"run": "1", "files": {{each: len(each) for each in names}}}}) if name == "run.json" else name
    client.put_object(Bucket="emrlab", Key=f"{{output}}/{{name}}", Body=body.encode())
with open({given!r}, "w") as file:
    json.dump([args, os.environ.get("OPENBLAS_NUM_THREADS")], file)
print("the job's summary", flush=True)
print("the job's warning", file=sys.stderr)
{end}
"""


class Master(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        worker = {"state": "ALIVE", "cores": 2, "coresused": 0, "memory": 7488}
        self.wfile.write(json.dumps({"workers": [worker, worker]}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def client(server, bucket):
    for name in [entry["Name"] for entry in bucket.client.list_buckets()["Buckets"] if entry["Name"] == "emrlab"]:
        for entry in bucket.client.list_objects_v2(Bucket=name).get("Contents", []):
            bucket.client.delete_object(Bucket=name, Key=entry["Key"])
        bucket.client.delete_bucket(Bucket=name)
    bucket.client.create_bucket(Bucket="emrlab", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    return bucket.client


@pytest.fixture
def lab(client, server, monkeypatch, tmp_path):
    """Set how the job ends; returns what spark-submit was given."""
    http = HTTPServer(("127.0.0.1", 0), Master)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    ports = {"minio": {9000: int(server.rpartition(":")[2]), 9001: 9}, "master": {8080: http.server_port}}
    rows = [
        {
            "Service": name,
            "State": "running",
            "ExitCode": 0,
            "Publishers": [{"TargetPort": target, "PublishedPort": port} for target, port in published.items()],
        }
        for name, published in ports.items()
    ]
    (tmp_path / "said").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "bin").mkdir()
    (tmp_path / ".env").write_text("DATA_ACCESS_KEY_ID=test\nDATA_SECRET_ACCESS_KEY=test\n")
    monkeypatch.setattr(paths, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def script(name, text, **values):
        (tmp_path / "bin" / name).write_text(text.format(python=sys.executable, **values))
        (tmp_path / "bin" / name).chmod(0o755)

    def ending(end=""):
        script("docker", DOCKER, said=str(tmp_path / "said"))
        script("spark-submit", SPARK_SUBMIT, given=str(tmp_path / "given"), end=end)

    ending()
    yield ending
    http.shutdown()
    http.server_close()


@pytest.fixture
def call(keras_file, tmp_path):
    def run(*args):
        return cli.main(["run", "--target", "lab", "--model", str(keras_file), "--image-size", "32", *args])

    return run


def given(tmp_path):
    return json.loads((tmp_path / "given").read_text())


def place(kind, folder):
    """Where a folder of this machine has its place in the lab."""
    return f"s3://emrlab/{kind}/{transfer.place(folder)}"


def keys(client):
    return {entry["Key"] for entry in client.list_objects_v2(Bucket="emrlab").get("Contents", [])}


def test_a_folder_goes_there_and_the_results_come_back(lab, call, photos, tmp_path, client, capfd):
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here", "--seed", "7") == 0
    args, threads = given(tmp_path)
    archive, main = args[args.index("--py-files") + 1], next(arg for arg in args if arg.endswith("/main.py"))
    settings = from_args(args[args.index(main) + 1 :])
    assert settings.input == place("images", photos)
    assert settings.output == place("results", tmp_path / "out" / "here")
    assert settings.seed == 7
    sent = {f"s3://emrlab/{key}" for key in keys(client)}
    assert {archive, main, settings.model, f"{settings.input}/Class 0/0_0.jpg"} <= sent
    built = package.build(image_job.ENTRY, [image_job.PACKAGE], cache=paths.CACHE)
    assert built.archive
    body = client.get_object(Bucket="emrlab", Key=archive.removeprefix("s3://emrlab/"))["Body"].read()
    assert body == built.archive.read_bytes(), "the same bytes as on this machine"
    assert settings.model.rpartition("/")[2].startswith("small-32-"), "the model keeps its name for the report"
    assert threads == "1"
    came = {path.name: path.read_text() for path in (tmp_path / "out" / "here").iterdir()}
    assert json.loads(came.pop("run.json"))["run"] == "1"
    assert came == {name: name for name in ("report.html", "predictions.csv", "metrics.json")}
    out, error = capfd.readouterr()
    assert out.splitlines()[0] == "the job's summary"
    assert out.splitlines()[1] == f"here        {os.path.relpath(tmp_path / 'out' / 'here' / 'report.html')}"
    assert f"24 files in {settings.input}: 24 sent\nthe job's warning\n" in error
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 0
    assert f"24 files in {settings.input}: 0 sent\n" in capfd.readouterr().err


def test_folders_of_one_name_have_a_place_each(lab, call, photos, tmp_path, client):
    (tmp_path / "other" / "photos" / "Class 9").mkdir(parents=True)
    (tmp_path / "other" / "photos" / "Class 9" / "0_0.jpg").write_bytes(b"x")
    assert call("--input", str(photos), "--output", f"{tmp_path}/a/out") == 0
    first = keys(client)
    assert call("--input", f"{tmp_path}/other/photos", "--output", f"{tmp_path}/b/out") == 0
    gone = {key for key in first - keys(client) if not key.startswith("artifacts/")}
    assert not gone, "the photographs and the results of the first folder are still there"
    assert len([key for key in keys(client) if key.endswith("/out/run.json")]) == 2
    assert len([key for key in keys(client) if key.endswith(".jpg")]) == 25


def test_what_no_run_left_in_the_output_is_not_replaced(lab, call, photos, tmp_path, client, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("the user's own")
    assert call("--input", str(photos), "--output", f"{tmp_path}/mine") == 2
    said = capfd.readouterr().err
    assert said == (
        f"error: --output {tmp_path}/mine holds a report.html that no run of emrlab left so; move it away, or choose "
        "another folder\n"
    )
    assert (tmp_path / "mine" / "report.html").read_text() == "the user's own"
    assert not keys(client)


@pytest.mark.parametrize("change", ["edited", "linked"])
def test_a_result_that_the_user_changed_is_not_replaced(lab, call, photos, tmp_path, capfd, change):
    """As in a spreadsheet, with a column of one's own beside the predictions."""
    assert call("--input", str(photos), "--output", f"{tmp_path}/out") == 0
    table = tmp_path / "out" / "predictions.csv"
    if change == "edited":
        table.write_text("predictions.csv, with my remarks")
    else:
        (tmp_path / "elsewhere").write_text("kept elsewhere")
        table.unlink()
        table.symlink_to(tmp_path / "elsewhere")
    before, is_link = table.read_text(), table.is_symlink()
    capfd.readouterr()
    assert call("--input", str(photos), "--output", f"{tmp_path}/out") == 2
    assert "/out holds a predictions.csv that no run of emrlab left so; move it away" in capfd.readouterr().err
    assert (table.read_text(), table.is_symlink()) == (before, is_link)
    table.rename(tmp_path / "mine.csv")
    assert call("--input", str(photos), "--output", f"{tmp_path}/out") == 0


def test_prefixes_in_the_lab_are_used_as_they_are(lab, call, tmp_path, client, monkeypatch):
    monkeypatch.setattr(paths, "OUT", tmp_path / "out")
    assert call("--input", "s3://emrlab/images/a b", "--output", "s3://emrlab/results/deep/r") == 0
    settings = from_args(given(tmp_path)[0][given(tmp_path)[0].index("--input") :])
    assert (settings.input, settings.output) == ("s3://emrlab/images/a b", "s3://emrlab/results/deep/r")
    assert not any(key.startswith("images/") for key in keys(client))
    report = tmp_path / "out" / "emrlab" / "results" / "deep" / "r" / "report.html"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [report]


@pytest.mark.parametrize(("end", "code", "words"), [
    ("sys.exit(1)", 1, ""),
    ("sys.exit(2)", 2, ""),
    ("import signal; os.kill(os.getpid(), signal.SIGKILL)", 1, "was ended from outside, exit code 137"),
])  # fmt: skip
def test_a_job_that_fails_brings_nothing_back(lab, call, photos, tmp_path, capfd, end, code, words):
    lab(end)
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == code
    assert not (tmp_path / "out").exists()
    error = capfd.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_results_that_cannot_be_fetched_are_said(lab, call, photos, tmp_path, capfd):
    lab('client.delete_object(Bucket="emrlab", Key=f"{{output}}/report.html")'.replace("{{", "{").replace("}}", "}"))
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 1
    assert f"error: {place('results', tmp_path / 'out' / 'here')} cannot be fetched" in capfd.readouterr().err


DRIVER = """
import signal, time
open({started!r}, "w").close()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    time.sleep(120)
except KeyboardInterrupt:
    print("error: stopped", file=sys.stderr, flush=True)
    sys.exit(130)
"""


DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open({started!r}, "w").close()
time.sleep(120)
"""


def interrupt_when(started, *, times):
    """This process's own SIGINT, as a terminal sends it: what runs behind `docker` is in another group."""

    def interrupt():
        end = time.monotonic() + 60
        while not started.exists() and time.monotonic() < end:
            time.sleep(0.05)
        for _ in range(times):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def test_ctrl_c_ends_the_job_there(lab, call, photos, tmp_path, capfd):
    lab(DRIVER.format(started=str(tmp_path / "started")))
    interrupt_when(tmp_path / "started", times=1)
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 130
    assert "error: stopped" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_second_ctrl_c_waits_for_nobody(lab, call, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "STOP_S", 600)
    lab(DEAF.format(started=str(tmp_path / "started")))
    interrupt_when(tmp_path / "started", times=2)
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 130


def test_ctrl_c_while_photographs_are_sent(lab, call, photos, tmp_path, monkeypatch, capfd):
    real = obstore.put

    def slow(opened, name, file, **options):
        if name.endswith(".jpg"):
            (tmp_path / "started").touch()
            time.sleep(0.3)
        return real(opened, name, file, **options)

    monkeypatch.setattr(obstore, "put", slow)
    monkeypatch.setattr(storage, "THREADS", 1)
    interrupt_when(tmp_path / "started", times=1)
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 130
    assert capfd.readouterr().err == "error: stopped; run again\n"
    assert not (tmp_path / "given").exists()


def test_the_secret_stands_on_no_command_line(lab, call, photos, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("DATA_ACCESS_KEY_ID=the-key\nDATA_SECRET_ACCESS_KEY=the-secret\n")
    asked = []
    real = subprocess.Popen.__init__

    def noting(self, args, *more, **options):
        asked.append(args)
        real(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", noting)
    assert call("--input", str(photos), "--output", f"{tmp_path}/out/here") == 0
    assert "spark-submit" in str(asked)
    assert "the-secret" not in str(asked)
    assert "the-key" not in str(asked)
