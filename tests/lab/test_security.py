"""Who may do what, and that no key is where it does not belong."""

import json

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from launch import cluster
from tests import contract
from tests.lab import commands

OTHER = "another"


@pytest.fixture(scope="module")
def other_bucket(lab):
    root = commands.s3("ROOT")
    root.create_bucket(Bucket=OTHER, CreateBucketConfiguration={"LocationConstraint": cluster.REGION})
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
    denied(history.get_object, Bucket=commands.BUCKET, Key=record)
    denied(history.put_object, Bucket=commands.BUCKET, Key="spark-events/x", Body=b"x")


def secrets():
    """What nobody may read anywhere, by name."""
    found = {
        name: value for name, value in commands.keys().items() if name.endswith(("_PASSWORD", "_SECRET_ACCESS_KEY"))
    }
    assert len(found) == 4
    return found


def leaks(text, *, but=()):
    return [name for name, value in secrets().items() if value in text and name not in but]


def test_no_secret_in_docker_inspect(undisturbed):
    assert leaks(json.dumps(commands.inspect())) == []


@pytest.mark.parametrize("node", commands.NODES)
def test_the_root_key_is_in_no_container_of_spark(undisturbed, node):
    own = "HISTORY_SECRET_ACCESS_KEY" if node == "history" else "JOB_SECRET_ACCESS_KEY"
    look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    assert leaks(commands.execute(node, "sh", "-c", look, check=False), but=[own]) == []
    patterns = "\n".join(value for name, value in secrets().items() if name != own)
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


def test_there_is_no_way_out_of_the_cluster(lab):
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=3)"
    said = commands.execute("worker-1", "python3", "-c", connect, check=False)
    assert "OSError" in said or "TimeoutError" in said
