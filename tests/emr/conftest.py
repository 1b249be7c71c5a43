from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import requests
from botocore.stub import Stubber
from moto.emr.responses import ElasticMapReduceResponse
from moto.iam import models as iam_models
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.server import ThreadedMotoServer

from base import paths, releases
from launch import image_job
from launch.__main__ import main
from launch.dependencies.wheels import Wheelhouse
from launch.emr import account, bootstrap, follow, sessions
from launch.emr.request import Cluster
from launch.emr.run_spec import RunSpec
from launch.image_job import ImageJob
from launch.model import BuiltModel
from pipeline.settings import Settings
from tests import pictures
from tests.unit.fake_nodes import Fake, fake_lab, serve_sessions

BUCKET, REGION, ACCOUNT = "photographs-of-mine", "eu-west-3", "123456789012"
RELEASE = releases.find("emr-spark-8.1.0")


@pytest.fixture(autouse=True)
def no_session_of_another_test(monkeypatch):
    """boto3 keeps the credentials that it found first."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def keys(monkeypatch):
    """Credentials that nobody has."""
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """Address of a moto server on a port that was free; of Amazon's own policies it has the one that clusters use."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    name = "AmazonEMRServicePolicy_v2"
    policy = json.loads(aws_managed_policies_data)[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        patch.setattr(iam_models, "aws_managed_policies_data", json.dumps({name: policy}))
        take = ElasticMapReduceResponse._get_param
        patch.setattr(ElasticMapReduceResponse, "_get_param", with_fleets(take))
        moto = ThreadedMotoServer(port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        yield f"http://{host}:{port}"
        moto.stop()


def with_fleets(take: Callable[..., Any]) -> Callable[..., Any]:
    """moto drops fleets: it is given the instance groups that are as many machines of the first type."""

    def get_param(response: Any, name: str, *default: Any) -> Any:
        found = take(response, name, *default)
        if found or name != "Instances.InstanceGroups":
            return found
        return [
            {
                "name": fleet["name"],
                "instance_role": fleet["instance_fleet_type"],
                "market": "ON_DEMAND",
                "instance_type": fleet["instance_type_configs"][0]["instance_type"],
                "instance_count": fleet["target_on_demand_capacity"] + fleet["target_spot_capacity"],
            }
            for fleet in take(response, "Instances.InstanceFleets", [])
        ]

    return get_param


@pytest.fixture
def amazon(moto_server, keys, monkeypatch) -> str:
    """An empty account at a moto server, where every client of this test goes."""
    requests.post(f"{moto_server}/moto-api/reset", timeout=30)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL_FREETIER", "http://127.0.0.1:1")  # nobody's: moto knows no plans
    return moto_server


@dataclass
class Stubs:
    """Clients whose answers, in their order, are checked against botocore's model of the service."""

    made: dict[str, Any] = field(default_factory=dict)
    stubbers: dict[str, Stubber] = field(default_factory=dict)

    def client(self, service: str, region: str | None = None, **_: Any) -> Any:
        if service not in self.made:
            self.made[service] = boto3.client(service, region_name=region or REGION)
            self.stubbers[service] = Stubber(self.made[service])
            self.stubbers[service].activate()
        return self.made[service]

    def answer(self, service: str, operation: str, response: dict[str, Any], expected: Any = None) -> None:
        self.client(service)
        self.stubbers[service].add_response(operation, response, expected)

    def refuse(self, service: str, operation: str, code: str, message: str = "", status: int = 400) -> None:
        self.client(service)
        self.stubbers[service].add_client_error(operation, code, message, status)

    def assert_all_asked(self) -> None:
        for stubber in self.stubbers.values():
            stubber.assert_no_pending_responses()


@pytest.fixture
def stubs(keys, monkeypatch) -> Stubs:
    made = Stubs()
    monkeypatch.setattr("launch.emr.aws.client", made.client)
    return made


@pytest.fixture
def make_spec(tmp_path) -> Callable[..., RunSpec]:
    def make(**changes: Any) -> RunSpec:
        cluster = Cluster(
            bucket=changes.pop("bucket", BUCKET),
            region=REGION,
            release=RELEASE.label,
            **{name: changes.pop(name) for name in ("subnets", "spot", "keep", "instance_type") if name in changes},
        )
        settings = Settings(
            input=changes.pop("input", f"s3://{BUCKET}/images/fruits"),
            output=changes.pop("output", f"s3://{BUCKET}/results/fruits"),
            model=".",
        )
        usual: dict[str, Any] = {
            "cluster": cluster,
            "release": RELEASE,
            "cluster_id": None,
            "in_emr_lab": False,
            "job": image_job.declare(ImageJob(settings=settings, model="lite0", weights=None, image_size=224)),
            "conf_overrides": {},
            "max_usd": 5.0,
        }
        return RunSpec(**{**usual, **changes})

    return make


@pytest.fixture
def launch(capsys):
    """`python -m launch ARGS`, in this process; exit code, stdout and stderr."""

    def call(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(args)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def ready(amazon, launch, monkeypatch, tmp_path):
    """An account after emr-setup, and a machine on which model and wheels are built."""
    assert launch("emr-setup", "--bucket", BUCKET)[0] == 0
    # Spark's own part of the machine is not needed here: the model's file and the wheels are a few bytes.
    model = tmp_path / "lite0-224-0123456789ab.tflite"
    model.write_bytes(b"model")
    wheels = tmp_path / "wheelhouse-0123.tar"
    wheels.write_bytes(b"wheels")
    built = BuiltModel(path=model, features=3, parity=0.0, reused=False)
    monkeypatch.setattr("launch.model.build", lambda *_, **__: built)
    monkeypatch.setattr("launch.dependencies.wheels.build", lambda *_, **__: Wheelhouse(wheels, "ab" * 32))
    monkeypatch.setattr(follow, "INTERVAL_S", (0.02, 0.05))
    monkeypatch.setattr(paths, "OUT", tmp_path / "out")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # of the user's own, which must not matter


@pytest.fixture
def sessions_of_emr(ready, tmp_path, monkeypatch) -> Iterator[Fake]:
    """The account, with an EMR that has sessions in place of moto's: the lab's endpoint, over stand-in machines."""
    root = tmp_path / "emr"
    script = hashlib.sha256(bootstrap.SCRIPT.read_bytes()).hexdigest()[:12]
    on_nodes = root / "s3" / BUCKET / "artifacts" / "bootstrap" / f"bootstrap-{script}.sh"
    on_nodes.parent.mkdir(parents=True)
    on_nodes.write_text("#!/bin/sh\n")
    monkeypatch.setattr(sessions, "INTERVAL_S", (0.02, 0.02))
    with fake_lab(root, monkeypatch) as fake, serve_sessions(fake, monkeypatch):
        account.ensure_in_emr_lab(REGION)
        yield fake


@pytest.fixture
def photos(tmp_path):
    pictures.write_set(tmp_path / "fruits", classes=2, views=3)
    return tmp_path / "fruits"


@pytest.fixture
def run_args(photos, tmp_path):
    return ("emr-run", "--bucket", BUCKET, "--input", str(photos), "--output", str(tmp_path / "here"), "--yes")
