"""Who may do what, and that no key is where it does not belong."""

import json
import os
import subprocess
from http.client import HTTPConnection

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from base.compose import exec_command
from base.defaults import REGION
from base.paths import ROOT
from lab import docker
from lab.bucket import MADE
from launch import docker_lab
from tests import contract, labs
from tests.lab import commands

OTHER = "another"


@pytest.fixture(scope="module")
def other_bucket(lab):
    root = commands.s3("ROOT")
    root.create_bucket(Bucket=OTHER, CreateBucketConfiguration={"LocationConstraint": REGION})
    root.put_object(Bucket=OTHER, Key="images/Kiwi/0.jpg", Body=b"x")
    yield
    root = commands.s3("ROOT")
    root.delete_object(Bucket=OTHER, Key="images/Kiwi/0.jpg")
    root.delete_bucket(Bucket=OTHER)


def denied(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == "AccessDenied", caught.value


def test_the_jobs_key_reads_no_other_bucket(other_bucket, undisturbed):
    job = commands.s3("JOB")
    denied(job.get_object, Bucket=OTHER, Key="images/Kiwi/0.jpg")
    denied(job.list_objects_v2, Bucket=OTHER)
    denied(job.put_object, Bucket=OTHER, Key="results/x", Body=b"x")
    assert [bucket["Name"] for bucket in job.list_buckets()["Buckets"]] in ([], [commands.BUCKET])


def test_the_jobs_key_changes_no_input_and_no_package(undisturbed, photos):
    job = commands.s3("JOB")
    key = f"{commands.images(photos)}/Class 0/0_0.jpg"
    assert job.get_object(Bucket=commands.BUCKET, Key=key)["Body"].read()
    denied(job.delete_object, Bucket=commands.BUCKET, Key=key)
    denied(job.put_object, Bucket=commands.BUCKET, Key=key, Body=b"x")
    denied(job.put_object, Bucket=commands.BUCKET, Key="artifacts/package/x", Body=b"x")
    denied(job.list_objects_v2, Bucket=commands.BUCKET)
    job.put_object(Bucket=commands.BUCKET, Key="results/tried/x", Body=b"x")
    job.delete_object(Bucket=commands.BUCKET, Key="results/tried/x")
    assert job.get_object(Bucket=commands.BUCKET, Key=key)["Body"].read()


def test_the_laptops_key_writes_no_results_and_the_historys_reads_logs_alone(undisturbed):
    data, history = commands.s3("DATA"), commands.s3("HISTORY")
    denied(data.put_object, Bucket=commands.BUCKET, Key="results/x", Body=b"x")
    record = f"{undisturbed.prefix}/run.json"
    denied(data.delete_object, Bucket=commands.BUCKET, Key=record)
    denied(data.list_objects_v2, Bucket=commands.BUCKET, Prefix="emrlab/")
    assert data.head_bucket(Bucket=commands.BUCKET)  # with which clients of others begin
    denied(history.get_object, Bucket=commands.BUCKET, Key=record)
    denied(history.put_object, Bucket=commands.BUCKET, Key="spark-events/x", Body=b"x")


def add_user(name, secret):
    """By the server's own means."""
    root, password = commands.keys()["MINIO_ROOT_USER"], commands.keys()["MINIO_ROOT_PASSWORD"]
    if os.environ.get("S3_SERVER") == "versitygw":
        admin = [
            "versitygw",
            "admin",
            "--access",
            root,
            "--secret",
            password,
            "--region",
            REGION,
            "--endpoint-url",
            "http://127.0.0.1:9000",
        ]
        commands.execute("minio", *admin, "create-user", "--access", name, "--secret", secret, "--role", "user")
    else:
        address, key = docker_lab.find().s3.removeprefix("http://"), StaticProvider(root, password)
        MinioAdmin(endpoint=address, credentials=key, secure=False).user_add(name, secret)


def is_known(name, secret):
    """Whether the server has a user of this name."""
    try:
        client = commands.s3_client(name, secret)
        client.list_buckets()
    except ClientError as error:
        return error.response["Error"]["Code"] != "InvalidAccessKeyId"
    return True


def test_users_of_others_stay_and_former_keys_of_the_lab_go(lab):
    mine, theirs, secret = "job-former", "data-of-alice", "a-secret-of-hers"
    for name in (mine, theirs):
        add_user(name, secret)
    root = commands.s3("ROOT")
    made = json.loads(root.get_object(Bucket=commands.BUCKET, Key=MADE)["Body"].read())
    assert sorted(made) == sorted(value for name, value in commands.keys().items() if name.endswith("_ACCESS_KEY_ID"))
    for user in ("DATA", "JOB", "HISTORY"):
        denied(commands.s3(user).put_object, Bucket=commands.BUCKET, Key=MADE, Body=b"[]")
    root.put_object(Bucket=commands.BUCKET, Key=MADE, Body=json.dumps([*made, mine]).encode())
    assert is_known(mine, secret)
    labs.compose("up", "--force-recreate", "--no-deps", "init")
    assert is_known(theirs, secret)
    assert not is_known(mine, secret)
    assert json.loads(root.get_object(Bucket=commands.BUCKET, Key=MADE)["Body"].read()) == sorted(made)


def secrets():
    """What nobody may read anywhere, by name."""
    found = {
        name: value
        for name, value in commands.keys().items()
        if name.endswith(("_PASSWORD", "_SECRET", "_SECRET_ACCESS_KEY", "_TOKEN"))
    }
    assert len(found) == 6
    return found


def leaks(text, *, but=()):
    return [name for name, value in secrets().items() if value in text and name not in but]


def test_no_secret_in_docker_inspect(undisturbed):
    assert leaks(json.dumps(commands.inspect())) == []


@pytest.mark.parametrize("node", commands.NODES)
def test_the_root_key_is_in_no_container_of_spark(undisturbed, node):
    own = ["HISTORY_SECRET_ACCESS_KEY"] if node == "history" else ["JOB_SECRET_ACCESS_KEY", "SPARK_AUTH_SECRET"]
    own += ["SPARK_CONNECT_TOKEN"] * (node == "master")
    look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    assert leaks(commands.execute(node, "sh", "-c", look, check=False), but=own) == []
    patterns = "\n".join(value for name, value in secrets().items() if name not in own)
    # Whatever a container gets beside its image; patterns come on stdin, so that no process has them as arguments.
    places = ["/run", "/mnt", "/tmp", "/home", "/etc", "/var", "/usr/lib/spark/conf"]  # noqa: S108
    search = ["grep", "-rlsF", "-f", "-", "--devices=skip", *places]
    assert commands.execute(node, *search, check=False, stdin=patterns) == ""


def test_no_secret_in_the_pages_the_event_log_and_the_results(undisturbed):
    assert "spark.executor.memory" in undisturbed.environment, "the running job's page was read"
    assert leaks(undisturbed.environment) == []
    client = commands.s3("DATA")
    logs = sorted(name for name in commands.sizes(client, "spark-events/") if name)
    assert logs
    for name in logs:
        body = client.get_object(Bucket=commands.BUCKET, Key=f"spark-events/{name}")["Body"].read()
        if name.endswith(".zstd"):
            body = pa.input_stream(pa.BufferReader(body), compression="zstd").read()
        text = body.decode()
        assert leaks(text) == [], name
        assert commands.keys()["MINIO_ROOT_USER"] not in text
    for path in undisturbed.folder.iterdir():
        assert leaks(path.read_text()) == [], path.name
    assert leaks(undisturbed.out + undisturbed.error) == []
    assert contract.read(undisturbed.output).run["cluster"]


def addresses(service):
    """A container's, on each of its networks."""
    networks = commands.inspect()[service]["NetworkSettings"]["Networks"]
    return [network["IPAddress"] for network in networks.values()]


def elsewhere(network, *command, stdin=""):
    """A command of the nodes' image in a container that is none of the lab's, as another user; its output.

    On the network `host` it is where every process of this machine is.
    """
    place = ["docker", "run", "--rm", "--interactive", "--network", network, "--user", "65534"]
    return subprocess.run(
        [*place, commands.inspect()["master"]["Config"]["Image"], *command],
        input=stdin, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


# Registers at a master and asks it for an executor.
OUTSIDER = """
import sys
from pyspark import SparkConf, SparkContext
conf = SparkConf().setMaster(f"spark://{sys.argv[1]}:7077").setAppName("outsider").set("spark.driver.host", "127.0.0.1")
for setting in sys.argv[2:]:
    conf.set(*setting.split("=", 1))
print(SparkContext(conf=conf.set("spark.ui.enabled", "false")).applicationId, flush=True)
"""
KNOWN_BY = [
    "spark.authenticate=true",
    "spark.authenticate.secret={}",
    "spark.network.crypto.enabled=true",
    "spark.network.crypto.authEngineVersion=2",
]


@pytest.mark.parametrize("secret", [None, "x" * 40, "the lab's"])
def test_the_master_takes_applications_from_who_has_the_secret(lab, secret):
    ours = secret == "the lab's"  # noqa: S105
    secret = commands.keys()["SPARK_AUTH_SECRET"] if ours else secret
    shown = [setting.format(secret) for setting in KNOWN_BY if secret]
    master = next(address for address in addresses("master") if is_open("host", address, 7077))
    done = elsewhere("host", "python3", "-", master, *shown, stdin=OUTSIDER)
    assert done.stdout.startswith("app-") == ours, done.stderr[-3000:]  # the master's name for it
    assert ("All masters are unresponsive" in done.stderr) != ours, done.stderr[-3000:]


def is_open(network, address, port):
    ask = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3); print('open')"
    return elsewhere(network, "python3", "-c", ask).stdout == "open\n"


def test_containers_of_other_networks_reach_nothing(lab):
    places = (("master", 7077), ("master", 8080), ("minio", 9000))
    tried = [(address, port) for service, port in places for address in addresses(service)]
    assert [place for place in tried if is_open("bridge", *place)] == []


LONG = """
import time
from pyspark.sql import SparkSession
SparkSession.builder.appName("long").getOrCreate().sparkContext.parallelize([1], 1).foreach(lambda _: time.sleep(900))
"""


@pytest.fixture
def job(lab):
    """Addresses of the pages of an application that runs for long."""
    commands.execute("master", "sh", "-c", "cat >/tmp/long.py", stdin=LONG)
    start = "echo $$ >/tmp/long.pid; exec spark-submit --executor-memory 1g /tmp/long.py"
    command = exec_command("master", ["sh", "-c", start])
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            commands.wait_until(lambda: '"RUNNING"' in jobs(), "running job", timeout_s=commands.RUN_S)
            yield
        finally:
            commands.execute("master", "sh", "-c", "kill $(cat /tmp/long.pid)", check=False)


def jobs():
    """What the application's page says of its jobs; nothing before it has any."""
    page = commands.application_page()
    found = commands.ask(page, "/api/v1/applications")
    if not found.startswith("["):  # Spark is starting
        return ""
    return commands.ask(page, f"/api/v1/applications/{json.loads(found)[0]['id']}/jobs")


def test_pages_are_looked_at_and_end_nothing(job):
    (application,) = commands.active_applications()
    worker = json.loads(commands.ask(docker_lab.find().master, "/json/"))["workers"][0]
    pages = {
        docker_lab.find().master: (
            f"/app/kill/?id={application['id']}&terminate=true",
            f"/workers/kill/?host={worker['host']}",
        ),
        commands.application_page(): ("/jobs/job/kill/?id=0", "/stages/stage/kill/?id=0&terminate=true"),
    }
    for page, paths in pages.items():
        for path in paths:
            for method in ("GET", "POST"):
                connection = HTTPConnection(page.removeprefix("http://"), timeout=10)
                connection.request(method, path, headers={"Content-Length": "0"})
                connection.getresponse().read()
                connection.close()
        assert "kill" not in commands.ask(page, "/" if page == docker_lab.find().master else "/jobs/")
    assert [each["id"] for each in commands.active_applications()] == [application["id"]]
    assert all('"RUNNING"' in jobs() for _ in range(20))
    states = [each["state"] for each in json.loads(commands.ask(docker_lab.find().master, "/json/"))["workers"]]
    assert states == ["ALIVE", "ALIVE"]


def test_ports_are_open_on_this_machine_alone(lab):
    for service, found in commands.inspect().items():
        published = [each for ports in (found["NetworkSettings"]["Ports"] or {}).values() for each in ports or ()]
        assert all(port["HostIp"] == "127.0.0.1" for port in published), service


def test_containers_run_as_nobody_special(lab):
    for service, found in commands.inspect().items():
        host = found["HostConfig"]
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"] or ()), service
        assert "ALL" in host["CapDrop"], service
        assert not host["Privileged"], service
        assert host["ReadonlyRootfs"], service
        if service != "secrets":  # it hands files to other users, without a network
            assert not host["CapAdd"], service
    assert commands.inspect()["secrets"]["HostConfig"]["NetworkMode"] == "none"
    for service in ("minio", *commands.NODES):
        assert commands.execute(service, "id", "-u").strip() != "0", service


def test_every_service_has_its_limits(lab):
    for service, written in docker.written({"COMPOSE_PROFILES": "*"})["services"].items():
        assert 0 < int(written["pids_limit"]) <= 8192, service
        assert int(written["mem_limit"]) > 0, service
    for service, found in commands.inspect().items():
        assert 0 < found["HostConfig"]["PidsLimit"] <= 8192, service
        assert found["HostConfig"]["Memory"] > 0, service


NAMES = """
import socket, threading
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.settimeout(20)
server.bind(("127.0.0.1", 53))

def ask():
    try:
        print(socket.getaddrinfo("a-secret.example.com", 80))
    except OSError as error:
        print(type(error).__name__)

print(bool(socket.getaddrinfo("minio", 9000)))
asking = threading.Thread(target=ask)
asking.start()
while b"a-secret" not in server.recv(512):
    pass
print("asked here")
server.close()
asking.join()
"""


@pytest.mark.parametrize("service", ["minio", "worker-1", "master", "history"])
def test_names_outside_are_asked_of_the_container_itself(lab, service):
    said = commands.execute(service, "python3", "-c", NAMES).splitlines()
    assert said == ["True", "asked here", "gaierror"]


def test_there_is_no_way_out_of_the_cluster(lab):
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=3)"
    said = commands.execute("worker-1", "python3", "-c", connect, check=False)
    assert "OSError" in said or "TimeoutError" in said
