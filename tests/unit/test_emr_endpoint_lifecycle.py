"""The life of a cluster: its states, bootstrap actions, the ways in which it ends, and restarts in between."""

from __future__ import annotations

import pytest

from emr_lab.endpoint.nodes import LostError, NodeClient
from emr_lab.endpoint.records import ClusterStore, StateError
from emr_lab.endpoint.state import ClosedError
from tests.unit.fake_nodes import LABEL, Fake, action, step, wait_until


def test_life_of_a_cluster(lab: Fake):
    cluster = lab.start(step("one", "echo out; echo err >&2"), step("two", "exit 0"))
    lab.wait(cluster, "TERMINATED")
    found = lab.client.describe_cluster(ClusterId=cluster)["Cluster"]
    assert lab.reason(cluster) == {"Code": "ALL_STEPS_COMPLETED", "Message": "Steps completed"}
    line = found["Status"]["Timeline"]
    assert line["CreationDateTime"] <= line["ReadyDateTime"] <= line["EndDateTime"]
    assert found["Applications"] == [{"Name": "Spark", "Version": "4.1.1"}]
    assert found["ClusterArn"].endswith(f":cluster/{cluster}")
    assert found["LogUri"] == "s3n://bucket/logs/"
    one = lab.step(cluster, "one")
    assert one["Status"]["State"] == "COMPLETED"
    assert one["Status"]["Timeline"]["StartDateTime"] <= one["Status"]["Timeline"]["EndDateTime"]
    assert one["Config"]["Args"] == ["bash", "-c", "echo out; echo err >&2"]
    logs = f"{cluster}/steps/{one['Id']}"
    assert lab.log(f"{logs}/stdout") == "out\n"
    assert lab.log(f"{logs}/stderr") == "err\n"
    assert lab.log(f"{logs}/syslog") == ""
    assert "Step succeeded with exitCode 0" in (lab.log(f"{logs}/controller") or "")
    assert all(node.cluster is None for node in lab.controllers.values())


def test_states_on_the_way(lab: Fake):
    uri = lab.put("wait.sh", f"while [ ! -e {lab.root}/go ]; do sleep 0.02; done")
    cluster = lab.start(
        step("waits", f"while [ ! -e {lab.root}/go-on ]; do sleep 0.02; done"),
        BootstrapActions=[action("wait", uri)],
        keep=True,
    )
    lab.wait(cluster, "BOOTSTRAPPING")
    instances = lab.client.list_instances(ClusterId=cluster)["Instances"]
    assert [each["Status"]["State"] for each in instances] == ["BOOTSTRAPPING"] * 3
    assert lab.steps(cluster) == {"waits": "PENDING"}
    (lab.root / "go").touch()
    lab.wait(cluster, "RUNNING")
    assert lab.steps(cluster) == {"waits": "RUNNING"}
    (lab.root / "go-on").touch()
    lab.wait(cluster, "WAITING")
    assert lab.reason(cluster) == {"Message": "Cluster ready after last step completed."}
    instances = lab.client.list_instances(ClusterId=cluster, InstanceStates=["RUNNING"])["Instances"]
    assert len(instances) == 3
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    assert lab.reason(cluster) == {"Code": "USER_REQUEST", "Message": "Terminated by user request"}


def test_waiters_of_boto3(lab: Fake):
    cluster = lab.start(step("one", "sleep 0.2"))
    often = {"Delay": 0.05, "MaxAttempts": 400}
    one = lab.client.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    lab.client.get_waiter("cluster_running").wait(ClusterId=cluster, WaiterConfig=often)
    lab.client.get_waiter("step_complete").wait(ClusterId=cluster, StepId=one, WaiterConfig=often)
    lab.client.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig=often)


def test_bootstrap_actions_run_everywhere_in_order_before_the_steps(lab: Fake):
    first = lab.put("first.sh", 'echo "$NODE_NAME $1 $2" >> "$HOME/marks"; echo first; echo said >&2')
    second = lab.put("second.py", "#!/usr/bin/env python3\nprint('second')\n")
    cluster = lab.start(
        step("read", 'cat "$HOME/marks"'),
        BootstrapActions=[action("first", first, "a b", "c"), action("second", second)],
    )
    lab.wait(cluster, "TERMINATED")
    one = lab.step(cluster, "read")
    assert lab.log(f"{cluster}/steps/{one['Id']}/stdout") == "primary a b c\n"
    for instance in lab.client.list_instances(ClusterId=cluster)["Instances"]:
        folder = f"{cluster}/node/{instance['Ec2InstanceId']}/bootstrap-actions"
        assert lab.log(f"{folder}/1/stdout") == "first\n"
        assert lab.log(f"{folder}/1/stderr") == "said\n"
        assert lab.log(f"{folder}/2/stdout") == "second\n"
    listed = lab.client.list_bootstrap_actions(ClusterId=cluster)["BootstrapActions"]
    assert listed[0] == {"Name": "first", "ScriptPath": first, "Args": ["a b", "c"]}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("primary", "On the master instance (i-"),
        ("core-2", "On a slave instance (i-"),
        ("core-1|core-2", "On 2 slave instances (including i-"),
    ],
)
def test_bootstrap_action_that_fails(lab: Fake, where, words):
    uri = lab.put("fail.sh", f'case $NODE_NAME in {where}) echo "no room" >&2; exit 3;; esac')
    cluster = lab.start(step("never", "exit 0"), BootstrapActions=[action("fail", uri)])
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    reason = lab.reason(cluster)
    assert reason["Code"] == "BOOTSTRAP_FAILURE"
    assert reason["Message"].startswith(words)
    assert reason["Message"].endswith("bootstrap action 1 returned a non-zero return code")
    assert lab.steps(cluster) == {"never": "CANCELLED"}
    named = reason["Message"].split("(")[1].split(")")[0].removeprefix("including ").split(" and ")
    assert all(lab.log(f"{cluster}/node/{name}/bootstrap-actions/1/stderr") == "no room\n" for name in named)


def test_a_node_that_is_silent_for_a_moment_is_not_lost_while_it_bootstraps(lab: Fake, monkeypatch):
    exit_code, silences = NodeClient.exit_code, list[str]()

    def hesitate(node, process):
        if len(silences) < 2:
            silences.append(node.name)
            raise LostError("timed out")
        return exit_code(node, process)

    monkeypatch.setattr(NodeClient, "exit_code", hesitate)
    cluster = lab.start(BootstrapActions=[action("short", lab.put("short.sh", "exit 0"))], keep=True)
    lab.wait(cluster, "WAITING", "TERMINATED_WITH_ERRORS")
    assert lab.state(cluster) == "WAITING", lab.reason(cluster)
    assert len(silences) == 2


def test_a_node_that_is_lost_while_it_bootstraps_ends_the_cluster(lab: Fake, monkeypatch):
    monkeypatch.setattr("emr_lab.endpoint.provisioning.NODE_SILENCE_S", 0.2)
    cluster = lab.start(BootstrapActions=[action("long", lab.put("long.sh", "sleep 600"))])
    lab.wait(cluster, "BOOTSTRAPPING")
    lab.servers["core-1"].shutdown()
    lab.servers["core-1"].server_close()
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster)["Code"] == "INSTANCE_FAILURE"


def test_bootstrap_action_that_is_not_there(lab: Fake):
    cluster = lab.start(BootstrapActions=[action("missing", "s3://bucket/nothing.sh")])
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    instance = lab.client.list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"])["Instances"][0]
    log = lab.log(f"{cluster}/node/{instance['Ec2InstanceId']}/bootstrap-actions/1/stderr")
    assert "s3://bucket/nothing.sh" in (log or "")


def test_termination_protection_holds_when_a_step_fails(lab: Fake):
    cluster = lab.start(
        step("fails", "exit 1", "TERMINATE_CLUSTER"), step("after", "exit 0"), keep=True, protected=True
    )
    lab.wait(cluster, "WAITING")
    lab.wait_step(cluster, "fails", "FAILED")
    assert lab.steps(cluster)["after"] == "CANCELLED"
    with pytest.raises(lab.client.exceptions.ClientError) as refused:
        lab.client.terminate_job_flows(JobFlowIds=[cluster])
    assert refused.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "Could not shut down one or more job flows since they are termination protected.",
    }
    lab.client.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")


def test_terminate_while_a_step_runs(lab: Fake):
    cluster = lab.start(step("runs", f"echo $$ > {lab.root}/pid; sleep 600"), step("waits", "exit 0"))
    wait_until(lambda: (lab.root / "pid").exists() and bool((lab.root / "pid").read_text()), lambda: "no pid")
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    assert lab.steps(cluster) == {"runs": "CANCELLED", "waits": "CANCELLED"}
    assert not (lab.root / "nodes/primary/home/x").exists()
    lab.client.terminate_job_flows(JobFlowIds=[cluster])  # again, nothing happens


def test_terminate_while_bootstrapping(lab: Fake):
    cluster = lab.start(BootstrapActions=[action("long", lab.put("long.sh", "sleep 600"))])
    lab.wait(cluster, "BOOTSTRAPPING")
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    assert lab.reason(cluster)["Code"] == "USER_REQUEST"


def test_idle_cluster_ends(lab: Fake):
    cluster = lab.start(keep=True, AutoTerminationPolicy={"IdleTimeout": 600})
    lab.wait(cluster, "WAITING")
    lab.applications["application_1"] = "somebody's"
    lab.clock.passed_s += 700
    lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("one", "exit 0")])
    lab.wait_step(cluster, "one", "COMPLETED")
    lab.clock.passed_s += 700  # YARN runs an application
    lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("two", "exit 0")])
    lab.wait_step(cluster, "two", "COMPLETED")
    lab.applications.clear()
    lab.wait(cluster, "WAITING")
    wait_until(lambda: lab.endpoint_state.store.clusters[cluster].idle_since_s is not None, lambda: "not idle")
    lab.clock.passed_s += 601
    lab.wait(cluster, "TERMINATED")
    assert "idle for 600 seconds" in lab.reason(cluster)["Message"]


def test_idle_cluster_is_asked_for_its_applications_before_it_ends(lab: Fake, monkeypatch):
    cluster = lab.start(keep=True, AutoTerminationPolicy={"IdleTimeout": 600})
    wait_until(lambda: lab.endpoint_state.store.clusters[cluster].idle_since_s is not None, lambda: "not idle")
    monkeypatch.setattr(
        "emr_lab.endpoint.lifecycle.NODE_INTERVAL_S", 3600
    )  # no other look at the nodes comes in between
    lab.applications["application_1"] = "somebody's"
    lab.clock.passed_s += 700
    wait_until(lambda: lab.endpoint_state.store.clusters[cluster].idle_since_s is None, lambda: lab.state(cluster))
    assert lab.state(cluster) == "WAITING"


def test_auto_termination_policy(lab: Fake):
    cluster = lab.start(keep=True)
    assert "AutoTerminationPolicy" not in lab.client.get_auto_termination_policy(ClusterId=cluster)
    lab.client.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 60})
    found = lab.client.get_auto_termination_policy(ClusterId=cluster)
    assert found["AutoTerminationPolicy"] == {"IdleTimeout": 60}
    lab.client.remove_auto_termination_policy(ClusterId=cluster)
    assert "AutoTerminationPolicy" not in lab.client.get_auto_termination_policy(ClusterId=cluster)
    with pytest.raises(lab.client.exceptions.ClientError, match="60 to 604800, not 5"):
        lab.client.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 5})


def test_cluster_ends_when_it_is_no_longer_kept(lab: Fake):
    cluster = lab.start(keep=True)
    lab.wait(cluster, "WAITING")
    lab.client.set_keep_job_flow_alive_when_no_steps(JobFlowIds=[cluster], KeepJobFlowAliveWhenNoSteps=False)
    lab.wait(cluster, "TERMINATED")


def test_restart_finds_the_step_that_runs(lab: Fake):
    script = f"echo one; while [ ! -e {lab.root}/go ]; do sleep 0.02; done; echo two"
    cluster = lab.start(step("runs", script), step("next", "exit 0"), Tags=[{"Key": "a", "Value": "b"}])
    lab.wait_step(cluster, "runs", "RUNNING")
    lab.restart()
    assert lab.steps(cluster) == {"runs": "RUNNING", "next": "PENDING"}
    assert lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"] == [{"Key": "a", "Value": "b"}]
    (lab.root / "go").touch()
    lab.wait(cluster, "TERMINATED")
    assert lab.steps(cluster) == {"runs": "COMPLETED", "next": "COMPLETED"}
    assert lab.log(f"{cluster}/steps/{lab.step(cluster, 'runs')['Id']}/stdout") == "one\ntwo\n"
    lab.restart()
    assert lab.state(cluster) == "TERMINATED"


def test_restart_after_the_step_has_failed_meanwhile(lab: Fake):
    script = f"while [ ! -e {lab.root}/go ]; do sleep 0.02; done; exit 3"
    cluster = lab.start(step("runs", script, "TERMINATE_CLUSTER"))
    lab.wait_step(cluster, "runs", "RUNNING")
    lab.restart(meanwhile=(lab.root / "go").touch)
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster)["Code"] == "STEP_FAILURE"


@pytest.mark.parametrize("is_started", [True, False])
def test_restart_while_a_step_is_being_started(lab: Fake, monkeypatch, is_started):
    """The endpoint's end comes just before the node starts the process, or just after."""
    start, tried = NodeClient.start, list[bool]()

    def start_and_end(node, argv, **more):
        if is_started:
            start(node, argv, **more)
        tried.append(True)
        raise ClosedError

    with monkeypatch.context() as patched:
        patched.setattr(NodeClient, "start", start_and_end)
        cluster = lab.start(step("runs", f"while [ ! -e {lab.root}/go ]; do sleep 0.02; done; echo done"), keep=True)
        wait_until(lambda: bool(tried), lambda: "not started")
        lab.stop()
    lab.endpoint_state = lab.make()
    lab.serve()
    (lab.root / "go").touch()
    lab.wait_step(cluster, "runs", "COMPLETED" if is_started else "FAILED")
    found = lab.step(cluster, "runs")
    if is_started:
        assert lab.log(f"{cluster}/steps/{found['Id']}/stdout") == "done\n"
    else:
        assert "could not be reached when the step was started" in found["Status"]["FailureDetails"]["Message"]
    lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("next", "exit 0")])
    lab.wait_step(cluster, "next", "COMPLETED")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"clusters": [{}]}', '{"clusters": [{"id": "j-1"}]}', '{"clusters": 7}', "\xff"]
)
def test_a_state_that_cannot_be_read_is_told_in_one_line_and_kept(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(StateError, match=r"state\.json .*remove the volume emr-state") as refused:
        ClusterStore(path).load(now_s=0)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content.encode("latin-1")


def test_restart_while_bootstrapping(lab: Fake):
    cluster = lab.start(BootstrapActions=[action("long", lab.put("long.sh", "sleep 600"))])
    lab.wait(cluster, "BOOTSTRAPPING")
    lab.restart()
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster) == {
        "Code": "INTERNAL_ERROR",
        "Message": "The lab's endpoint was restarted while the cluster was starting.",
    }


def test_restart_of_a_node_ends_the_cluster(lab: Fake):
    cluster = lab.start(step("runs", "sleep 600"), keep=True)
    lab.wait_step(cluster, "runs", "RUNNING")
    lab.restart(meanwhile=lambda: lab.controllers["core-2"].reset(None, []))
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster)["Code"] == "INSTANCE_FAILURE"
    assert "core-2 was started anew" in lab.reason(cluster)["Message"]


def test_lost_node_ends_the_cluster(lab: Fake, monkeypatch):
    monkeypatch.setattr("emr_lab.endpoint.provisioning.NODE_SILENCE_S", 0.2)
    cluster = lab.start(keep=True)
    lab.wait(cluster, "WAITING")
    lab.servers["core-1"].shutdown()
    lab.servers["core-1"].server_close()
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    assert lab.reason(cluster)["Code"] == "INSTANCE_FAILURE"
    assert "core-1 does not answer" in lab.reason(cluster)["Message"]


def test_nodes_of_another_release_end_the_cluster(lab: Fake):
    lab.controllers["core-2"].said["spark"] = "3.5.8"
    cluster = lab.start()
    lab.wait(cluster, "TERMINATED_WITH_ERRORS")
    message = lab.reason(cluster)["Message"]
    assert message == f"core-2 has spark 3.5.8, {LABEL} has 4.1.1; build it anew"


def test_one_cluster_at_a_time(lab: Fake):
    first = lab.start(keep=True)
    with pytest.raises(lab.client.exceptions.ClientError) as refused:
        lab.start()
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert f"one cluster at a time, and {first}" in refused.value.response["Error"]["Message"]
    lab.wait(first, "WAITING")
    lab.client.add_job_flow_steps(JobFlowId=first, Steps=[step("stubborn", "trap '' TERM; sleep 3 & wait; sleep 1")])
    lab.wait_step(first, "stubborn", "RUNNING")
    lab.client.terminate_job_flows(JobFlowIds=[first])
    second = lab.start(step("mine", "exit 0"))  # the first one is on its way out: it waits for the nodes
    assert (lab.state(first), lab.state(second)) == ("TERMINATING", "STARTING")
    lab.wait(second, "TERMINATED")
    assert lab.steps(second) == {"mine": "COMPLETED"}
    assert [each["Id"] for each in lab.client.list_clusters()["Clusters"]] == [second, first]


def test_configurations_reach_the_nodes(lab: Fake):
    settings = [
        {"Classification": "spark-defaults", "Properties": {"spark.ui.enabled": "false"}},
        {
            "Classification": "spark-env",
            "Configurations": [{"Classification": "export", "Properties": {"AWS_REGION": "eu-west-3"}}],
        },
    ]
    cluster = lab.start(keep=True, Configurations=settings)
    lab.wait(cluster, "WAITING")
    for node in lab.controllers.values():
        assert "spark.ui.enabled false" in (node.conf / "spark/spark-defaults.conf").read_text()
        assert "export AWS_REGION=eu-west-3" in (node.conf / "spark/spark-env.sh").read_text()
    found = lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["Configurations"]
    assert found[0] == settings[0]
    assert found[1]["Configurations"][0]["Properties"] == {"AWS_REGION": "eu-west-3"}
