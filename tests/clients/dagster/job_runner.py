"""dagster-aws's EmrJobRunner with a step of its own making: `python job_runner.py LABEL BUCKET`."""

from __future__ import annotations

import logging
import sys
import time

from dagster_aws.emr import EmrJobRunner


def main(label: str, bucket: str) -> None:
    """Start a cluster, run a step, read its logs, end the cluster; print what the step printed."""
    log, runner = logging.getLogger("dagster"), EmrJobRunner("eu-west-3", check_cluster_every=1)
    cluster = runner.run_job_flow(
        log,
        {
            "Name": "dagster",
            "ReleaseLabel": label,
            "Applications": [{"Name": "Spark"}],
            "LogUri": f"s3://{bucket}/emrlab-logs/",
            "JobFlowRole": "EMR_EC2_DefaultRole",
            "ServiceRole": "EMR_DefaultRole",
            "Instances": {
                "MasterInstanceType": "m5.xlarge",
                "SlaveInstanceType": "m5.xlarge",
                "InstanceCount": 2,
                "KeepJobFlowAliveWhenNoSteps": True,
            },
        },
    )
    step = runner.construct_step_dict_for_command("pi", ["run-example", "SparkPi", "4"])
    (step_id,) = runner.add_job_flow_steps(log, cluster, [step])
    while not runner.is_emr_step_complete(log, cluster, step_id):  # it raises where the step has failed
        time.sleep(1)
    stdout, _ = runner.retrieve_logs_for_step_id(log, cluster, step_id)
    assert runner.cluster_id_from_name("dagster") == cluster
    runner.make_emr_client().terminate_job_flows(JobFlowIds=[cluster])
    print(stdout)  # noqa: T201 - it is what the test reads


if __name__ == "__main__":
    main(*sys.argv[1:])
