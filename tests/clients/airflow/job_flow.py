"""The operators and sensors of Amazon's Airflow provider, in the order and with the job flow of its system test
`example_emr`, each executed without a scheduler: `python job_flow.py BUCKET`.

Polls are a second apart instead of thirty.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest.mock import MagicMock

import boto3
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrModifyClusterOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor, EmrStepSensor

ROLE = "arn:aws:iam::123456789012:role/emr-runtime"
CONFIGURATION = "emr-runtime-role"
SECURITY = {
    "AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}},
    "InstanceMetadataServiceConfiguration": {
        "MinimumInstanceMetadataServiceVersion": 2,
        "HttpPutResponseHopLimit": 2,
    },
}
PI = {
    "Name": "calculate_pi",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["/usr/lib/spark/bin/run-example", "SparkPi", "10"]},
}
PRIMARY = {
    "Name": "Primary node",
    "Market": "ON_DEMAND",
    "InstanceRole": "MASTER",
    "InstanceType": "m5.xlarge",
    "InstanceCount": 1,
}


def main(bucket: str) -> None:
    """Do what the system test does; print the ids of the cluster and of the step that was added."""
    emr = boto3.client("emr")
    emr.create_security_configuration(Name=CONFIGURATION, SecurityConfiguration=json.dumps(SECURITY))
    request = {
        "Name": "PiCalc",
        "ReleaseLabel": "emr-7.1.0",
        "Applications": [{"Name": "Spark"}],
        "Instances": {
            "InstanceGroups": [PRIMARY],
            "KeepJobFlowAliveWhenNoSteps": True,
            "TerminationProtected": False,
        },
        "Steps": [PI],
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "LogUri": f"s3://{bucket}/emrlab-logs/",
        "SecurityConfiguration": CONFIGURATION,
    }
    cluster = execute(EmrCreateJobFlowOperator(task_id="create_job_flow", job_flow_overrides=request))
    execute(EmrModifyClusterOperator(task_id="modify_cluster", cluster_id=cluster, step_concurrency_level=1))
    (step,) = execute(
        EmrAddStepsOperator(
            task_id="add_steps",
            job_flow_id=cluster,
            steps=[PI],
            execution_role_arn=ROLE,
            wait_for_completion=True,
            waiter_delay=1,
            waiter_max_attempts=600,
        )
    )
    execute(EmrStepSensor(task_id="wait_for_step", job_flow_id=cluster, step_id=step, poke_interval=1))
    execute(EmrTerminateJobFlowOperator(task_id="remove_cluster", job_flow_id=cluster))
    execute(EmrJobFlowSensor(task_id="check_job_flow", job_flow_id=cluster, poke_interval=1))
    emr.delete_security_configuration(Name=CONFIGURATION)
    print("done", cluster, step)  # noqa: T201 - it is what the test reads


def execute(operator: Any) -> Any:
    """Do an operator's work; the task instance takes what it hands to others, and nobody reads it."""
    task_instance = MagicMock()
    return operator.execute({"ti": task_instance, "task_instance": task_instance, "task": operator})


if __name__ == "__main__":
    main(*sys.argv[1:])
