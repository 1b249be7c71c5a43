"""A state machine that calls EMR by AWS's SDK integration, as moto interprets it.

Of the optimized integration (`elasticmapreduce:createCluster.sync`) moto has no interpreter, and its CloudFormation
makes clusters in its own memory, without a call to EMR.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
import moto
import pytest
import requests
from moto.server import ThreadedMotoServer

from base.defaults import BUCKET
from tests.clients.conftest import Lab
from tests.emr_lab.conftest import wait_for
from tests.unit.fake_nodes import REGION

SDK = "moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk"
ROLE = "arn:aws:iam::123456789012:role/states"


def call(operation: str, parameters: dict[str, Any], *, result: dict[str, str], then: str) -> dict[str, Any]:
    """A task that calls EMR and keeps of its answer what `result` selects."""
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:emr:{operation}",
        "Parameters": parameters,
        "ResultSelector": result,
        "ResultPath": f"$.{operation}",
        "Next": then,
    }


def machine(label: str) -> dict[str, Any]:
    """Start a cluster, add a step to it, look once a second whether it is done, end the cluster."""
    primary = {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
    cluster = {
        "Name": "states",
        "ReleaseLabel": label,
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"s3://{BUCKET}/emrlab-logs/",
        "ServiceRole": "EMR_DefaultRole",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "Instances": {"InstanceGroups": [primary], "KeepJobFlowAliveWhenNoSteps": True},
    }
    pi = {"Jar": "command-runner.jar", "Args": ["run-example", "SparkPi", "4"]}
    steps = [{"Name": "pi", "ActionOnFailure": "CONTINUE", "HadoopJarStep": pi}]
    job_flow, step, state = "$.runJobFlow.Id", "$.addJobFlowSteps.Id", "$.describeStep.State"
    start, add, look, end = "runJobFlow", "addJobFlowSteps", "describeStep", "terminateJobFlows"
    failed = [{"Variable": state, "StringEquals": each, "Next": "Bad"} for each in ("FAILED", "CANCELLED")]
    return {
        "StartAt": "Start",
        "States": {
            "Start": call(start, cluster, result={"Id.$": "$.JobFlowId"}, then="Add"),
            "Add": call(add, {"JobFlowId.$": job_flow, "Steps": steps}, result={"Id.$": "$.StepIds[0]"}, then="Pause"),
            "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Look"},
            "Look": call(
                look,
                {"ClusterId.$": job_flow, "StepId.$": step},
                result={"State.$": "$.Step.Status.State"},
                then="Judge",
            ),
            "Judge": {
                "Type": "Choice",
                "Choices": [{"Variable": state, "StringEquals": "COMPLETED", "Next": "End"}, *failed],
                "Default": "Pause",
            },
            "End": call(end, {"JobFlowIds.$": f"States.Array({job_flow})"}, result={}, then="Good"),
            "Good": {"Type": "Succeed"},
            "Bad": {"Type": "Fail", "Error": "StepFailed"},
        },
    }


def test_step_functions(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(f"{SDK}.boto_client_for", lambda service, region, state_credentials: lab.client(service))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(
        f"http://{host}:{port}/moto-api/config", json={"stepfunctions": {"execute_state_machine": True}}, timeout=30
    )
    states = boto3.client(
        "stepfunctions",
        endpoint_url=f"http://{host}:{port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - moto's
    )
    made = states.create_state_machine(name="pi", definition=json.dumps(machine(lab.label)), roleArn=ROLE)
    execution = states.start_execution(stateMachineArn=made["stateMachineArn"], input="{}")["executionArn"]
    done = wait_for(
        lambda: states.describe_execution(executionArn=execution), lambda found: found["status"] != "RUNNING"
    )
    assert done["status"] == "SUCCEEDED", done
    server.stop()
    output = json.loads(done["output"])
    assert "Pi is roughly 3.1" in lab.log(output["runJobFlow"]["Id"], output["addJobFlowSteps"]["Id"], "stdout")
    lab.told(f"Step Functions, by moto {moto.__version__}", "a state machine with tasks of `aws-sdk:emr`")
