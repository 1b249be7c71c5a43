"""boto3, as its documentation has it: waiters and paginators."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError

from base.defaults import BUCKET
from tests.clients.conftest import Lab

STEP = {
    "Name": "pi",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-example", "SparkPi", "4"]},
}
POLLS = {"Delay": 1, "MaxAttempts": 600}


def test_boto3(lab: Lab):
    emr = lab.client("emr")
    nodes = {"InstanceType": "m5.xlarge"}
    cluster = emr.run_job_flow(
        Name="boto3",
        ReleaseLabel=lab.label,
        Applications=[{"Name": "Spark"}],
        LogUri=f"s3://{BUCKET}/emrlab-logs/",
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
        Instances={
            "InstanceGroups": [
                {"InstanceRole": "MASTER", "InstanceCount": 1, **nodes},
                {"InstanceRole": "CORE", "InstanceCount": 2, **nodes},
            ],
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        Tags=[{"Key": "for", "Value": "boto3"}],
        SessionEnabled=True,
    )["JobFlowId"]
    emr.get_waiter("cluster_running").wait(ClusterId=cluster, WaiterConfig=POLLS)
    (step,) = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[STEP])["StepIds"]
    emr.get_waiter("step_complete").wait(ClusterId=cluster, StepId=step, WaiterConfig=POLLS)
    pages = {
        "list_steps": ("Steps", 1),
        "list_instances": ("Instances", 3),
        "list_instance_groups": ("InstanceGroups", 2),
        "list_bootstrap_actions": ("BootstrapActions", 0),
    }
    for operation, (member, count) in pages.items():
        assert len(list(emr.get_paginator(operation).paginate(ClusterId=cluster).search(f"{member}[]"))) == count
    clusters = emr.get_paginator("list_clusters").paginate(ClusterStates=["RUNNING", "WAITING"])
    assert list(clusters.search("Clusters[].Id")) == [cluster]
    started = [emr.start_session(ClusterId=cluster, Name=f"session {number}")["Id"] for number in range(3)]
    one_each = emr.get_paginator("list_sessions").paginate(ClusterId=cluster, MaxResults=1)
    assert list(one_each.search("Sessions[].Id")) == started[::-1]
    with pytest.raises(ClientError, match="mutually exclusive"):
        list(emr.get_paginator("list_instance_fleets").paginate(ClusterId=cluster))
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig=POLLS)
    assert "Pi is roughly 3.1" in lab.log(cluster, step, "stdout")
    lab.told(f"boto3 {boto3.__version__}", "a cluster with sessions from start to end, by its waiters and paginators")
