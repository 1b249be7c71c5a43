"""Steps: what they run, how they end, what follows from it, and the logs they leave."""

from __future__ import annotations

from emr_lab.endpoint.nodes import LostError, NodeClient
from launch.emr import logs, request
from tests.unit.fake_nodes import Fake, action, step, wait_until


def test_step_that_fails_and_terminates_the_cluster(lab: Fake):
    cluster = lab.start(
        step("fails", "echo 'ValueError: no such fruit' >&2; exit 4", "TERMINATE_CLUSTER"), step("after", "exit 0")
    )
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster) == {"Code": "STEP_FAILURE", "Message": "Shut down as step failed"}
    assert lab.steps(cluster) == {"fails": "FAILED", "after": "CANCELLED"}
    failed = lab.step(cluster, "fails")
    assert failed["Status"]["FailureDetails"] == {
        "Reason": "Unknown Error.",
        "Message": "ValueError: no such fruit",
        "LogFile": f"s3://bucket/logs/{cluster}/steps/{failed['Id']}/stderr.gz",
    }
    assert "exitCode 4" in (lab.log(f"{cluster}/steps/{failed['Id']}/controller") or "")


def test_step_whose_python_driver_speaks_in_stdout(lab: Fake):
    script = "echo 'Traceback (most recent call last):'; echo 'KeyError: 1'; echo 'java.io.IOException: x' >&2; exit 1"
    cluster = lab.start(step("fails", script))
    lab.wait(cluster, "TERMINATED")
    failed = lab.step(cluster, "fails")
    assert failed["Status"]["FailureDetails"] == {
        "Reason": "Unknown Error.",
        "Message": "KeyError: 1",
        "LogFile": f"s3://bucket/logs/{cluster}/steps/{failed['Id']}/stdout.gz",
    }


def test_step_whose_cause_is_java_s_behind_a_long_stack(lab: Fake):
    raised = "Traceback (most recent call last):\npy4j.protocol.Py4JJavaError: An error occurred while calling x."
    cause = "java.lang.IllegalArgumentException: above the max threshold"
    script = f"echo '{raised}\n: {cause}'; yes '\tat org.apache.spark.X' | head -n 1000; exit 1"
    cluster = lab.start(step("fails", script))
    lab.wait(cluster, "TERMINATED")
    found = lab.step(cluster, "fails")["Status"]["FailureDetails"]
    assert found["Message"] == cause
    assert found["LogFile"].endswith("/stdout.gz")


def test_step_that_says_nothing_of_its_failure_ends_the_cluster(lab: Fake):
    fails = step("fails", "exit 1")
    del fails["ActionOnFailure"]
    cluster = lab.start(fails, keep=True)
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.step(cluster, "fails")["ActionOnFailure"] == "TERMINATE_CLUSTER"


def test_step_that_fails_and_cancels_the_others(lab: Fake):
    cluster = lab.start(step("fails", "exit 1", "CANCEL_AND_WAIT"), step("after", "exit 0"), keep=True)
    lab.wait_step(cluster, "after", "CANCELLED")
    lab.wait(cluster, "WAITING")
    assert lab.steps(cluster) == {"fails": "FAILED", "after": "CANCELLED"}
    lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("later", "exit 0")])
    lab.wait_step(cluster, "later", "COMPLETED")


def test_step_that_fails_and_lets_the_others_go_on(lab: Fake):
    cluster = lab.start(step("fails", "exit 1"), step("after", "exit 0"))
    lab.wait(cluster, "TERMINATED")
    assert lab.reason(cluster) == {"Code": "ALL_STEPS_COMPLETED", "Message": "Steps completed with errors"}
    assert lab.steps(cluster) == {"fails": "FAILED", "after": "COMPLETED"}


def test_step_whose_program_is_not_there(lab: Fake):
    missing = step("missing", "")
    missing["HadoopJarStep"]["Args"] = ["no-such-program", "x"]
    cluster = lab.start(missing)
    lab.wait(cluster, "TERMINATED")
    found = lab.step(cluster, "missing")
    assert found["Status"]["State"] == "FAILED"
    assert "no-such-program" in found["Status"]["FailureDetails"]["Message"]
    assert "no-such-program" in (lab.log(f"{cluster}/steps/{found['Id']}/stderr") or "")


def test_a_bootstrap_action_whose_arguments_are_more_than_a_process_takes(lab: Fake):
    long = action("long", lab.put("action.sh", "exit 0"), *["x" * 10_000] * 300)
    cluster = lab.start(BootstrapActions=[long])
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert "Argument list too long" in lab.reason(cluster)["Message"]


def test_spark_submit_gets_its_very_arguments(lab: Fake):
    submit = step("submit", "")
    submit["HadoopJarStep"]["Args"] = ["spark-submit", "--conf", "a=b c", "s3://bucket/job.py"]
    cluster = lab.start(submit)
    lab.wait(cluster, "TERMINATED")
    name = lab.step(cluster, "submit")["Id"]
    said = lab.log(f"{cluster}/steps/{name}/stdout")
    assert said == f"opts -Dspark.yarn.tags={name.lower()} step {name} args --conf a=b c s3://bucket/job.py\n"


def test_spark_submit_without_spark(lab: Fake):
    submit = step("submit", "")
    submit["HadoopJarStep"]["Args"] = ["spark-submit", "job.py"]
    cluster = lab.start(submit, Applications=[{"Name": "Livy"}][:0])
    lab.wait(cluster, "TERMINATED")
    assert "do not have Spark" in lab.step(cluster, "submit")["Status"]["FailureDetails"]["Message"]


def test_script_runner(lab: Fake):
    uri = lab.put("script.sh", 'echo "hello $1"')
    runs = step("script", "")
    runs["HadoopJarStep"] = {
        "Jar": "s3://eu-west-3.elasticmapreduce/libs/script-runner/script-runner.jar",
        "Args": [uri, "world"],
    }
    cluster = lab.start(runs)
    lab.wait(cluster, "TERMINATED")
    assert lab.log(f"{cluster}/steps/{lab.step(cluster, 'script')['Id']}/stdout") == "hello world\n"


def test_logs_come_while_the_step_runs(lab: Fake):
    cluster = lab.start(step("long", f"echo begun; while [ ! -e {lab.root}/go ]; do sleep 0.02; done; echo done"))
    lab.wait_step(cluster, "long", "RUNNING")
    name = f"{cluster}/steps/{lab.step(cluster, 'long')['Id']}/stdout"
    wait_until(lambda: lab.log(name) == "begun\n", lambda: str(lab.log(name)))
    (lab.root / "go").touch()
    lab.wait(cluster, "TERMINATED")
    assert lab.log(name) == "begun\ndone\n"


def test_logs_of_containers_and_daemons(lab: Fake):
    container = "application_1_0001/container_1_0001_01_000001/stdout"
    folder = lab.controllers["core-1"].logs / "hadoop-yarn/containers"
    script = f"mkdir -p {(folder / container).parent}; echo counted > {folder / container}"
    cluster = lab.start(step("count", script))
    lab.wait(cluster, "TERMINATED")
    assert lab.log(f"{cluster}/containers/{container}") == "counted\n"
    master = lab.client.list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"])["Instances"][0]
    daemon = f"{cluster}/node/{master['Ec2InstanceId']}/applications/hadoop-yarn/hadoop-yarn-primary.log"
    assert lab.log(daemon) == "started\n"


def test_a_cluster_without_log_uri_has_no_logs(lab: Fake):
    cluster = lab.start(step("one", "echo out"), LogUri=None)
    lab.wait(cluster, "TERMINATED")
    assert not list((lab.root / "s3").rglob("*.gz"))
    assert "LogUri" not in lab.client.describe_cluster(ClusterId=cluster)["Cluster"]


def test_cancel(lab: Fake):
    cluster = lab.start(step("runs", "sleep 600"), step("waits", "exit 0"), step("last", "exit 0"), keep=True)
    lab.wait_step(cluster, "runs", "RUNNING")
    ids = {name: lab.step(cluster, name)["Id"] for name in ("runs", "waits")}
    lab.applications.update({"application_1": ids["runs"].lower(), "application_2": "another"})
    answer = lab.client.cancel_steps(ClusterId=cluster, StepIds=[ids["waits"], ids["runs"], "s-NONE"])
    assert [each["Status"] for each in answer["CancelStepsInfoList"]] == ["SUBMITTED", "SUBMITTED", "FAILED"]
    lab.wait_step(cluster, "last", "COMPLETED")
    assert lab.steps(cluster) == {"runs": "CANCELLED", "waits": "CANCELLED", "last": "COMPLETED"}
    assert lab.killed == ["application_1"]
    assert "FailureDetails" not in lab.step(cluster, "runs")["Status"]
    again = lab.client.cancel_steps(ClusterId=cluster, StepIds=[ids["runs"]])["CancelStepsInfoList"]
    assert again == [{"StepId": ids["runs"], "Status": "FAILED", "Reason": "The step is CANCELLED already."}]


def test_an_application_that_reaches_yarn_while_its_step_is_cancelled_is_killed(lab: Fake, monkeypatch):
    kill = NodeClient.kill

    def submit_and_kill(node, process):
        lab.applications["application_9"] = lab.step(cluster, "submits")["Id"].lower()
        kill(node, process)

    cluster = lab.start(step("submits", "sleep 600"), step("last", "exit 0"), keep=True)
    lab.wait_step(cluster, "submits", "RUNNING")
    monkeypatch.setattr(NodeClient, "kill", submit_and_kill)
    lab.client.cancel_steps(ClusterId=cluster, StepIds=[lab.step(cluster, "submits")["Id"]])
    lab.wait_step(cluster, "last", "COMPLETED")
    assert lab.killed == ["application_9"]


def test_steps_at_once(lab: Fake):
    meet = "touch {0}/{1}; while [ ! -e {0}/{2} ]; do sleep 0.02; done"
    steps = [step("a", meet.format(lab.root, "a", "b")), step("b", meet.format(lab.root, "b", "a"))]
    cluster = lab.start(*steps, step("c", "exit 0"), StepConcurrencyLevel=2)
    lab.wait(cluster, "TERMINATED")  # one after the other they would wait for ever
    assert lab.steps(cluster) == {"a": "COMPLETED", "b": "COMPLETED", "c": "COMPLETED"}


def test_concurrency_can_be_changed(lab: Fake):
    cluster = lab.start(step("a", "sleep 600"), step("b", "sleep 600"), keep=True)
    lab.wait_step(cluster, "a", "RUNNING")
    assert lab.steps(cluster)["b"] == "PENDING"
    assert lab.client.modify_cluster(ClusterId=cluster, StepConcurrencyLevel=2)["StepConcurrencyLevel"] == 2
    lab.wait_step(cluster, "b", "RUNNING")


def test_primary_that_starts_the_step_and_cannot_say_so(lab: Fake, monkeypatch):
    start = NodeClient.start

    def start_and_be_silent(node, argv, **more):
        start(node, argv, **more)
        raise LostError("connection reset")

    monkeypatch.setattr(NodeClient, "start", start_and_be_silent)
    cluster = lab.start(step("runs", "echo done"))
    lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")
    assert lab.steps(cluster) == {"runs": "COMPLETED"}
    assert lab.log(f"{cluster}/steps/{lab.step(cluster, 'runs')['Id']}/stdout") == "done\n"


def test_primary_that_forgot_the_process(lab: Fake):
    cluster = lab.start(step("runs", "sleep 600"), keep=True)
    lab.wait_step(cluster, "runs", "RUNNING")
    wait_until(lambda: bool(lab.controllers["primary"]._processes), lambda: "not started")
    lab.controllers["primary"]._processes.clear()
    lab.wait_step(cluster, "runs", "FAILED")
    assert "process is gone" in lab.step(cluster, "runs")["Status"]["FailureDetails"]["Message"]


def test_step_that_has_had_its_time(lab: Fake):
    """As emr-run's, whose limit holds on the node: nobody need look on."""
    limited = request.spark_step([], keep=False, limit_s=1)
    limited["HadoopJarStep"]["Args"][-1:] = ["bash", "-c", "echo begun; sleep 600"]
    cluster = lab.start(limited)
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    found = lab.step(cluster, limited["Name"])
    assert found["Status"]["State"] == "FAILED"
    assert "exitCode 124" in (lab.log(f"{cluster}/steps/{found['Id']}/controller") or "")
    cause = logs.cause(lab.log(f"{cluster}/steps/{found['Id']}/stderr") or "")
    assert cause is not None
    assert cause.text == "ended after the time that MAX_USD pays for; what was extracted is kept (exit code 124)"
