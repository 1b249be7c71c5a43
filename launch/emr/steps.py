"""A run's step: given to EMR with a cluster of its own or on one that runs, and ended again."""

from __future__ import annotations

from launch.emr import account, aws, follow, once, plan, request
from launch.emr.artifacts import Artifacts
from launch.emr.aws import AWS_ERRORS, EmrError
from launch.emr.cost import Estimate
from launch.emr.follow import Clients, Show, Step
from launch.emr.run_spec import RunSpec

# A cluster's first step is listed a little after RunJobFlow's answer, at worst.
LISTED_S, LISTED_PAUSE_S = 30.0, 2.0


def check_packages(spec: RunSpec, wheelhouse_sha256: str) -> None:
    """See that the cluster which runs already has the packages that the job needs.

    Raises:
        EmrError: it has others.
        ClientError, BotoCoreError: AWS refuses.
    """
    if spec.cluster_id is None:
        return
    cluster = aws.client("emr", spec.cluster.region).describe_cluster(ClusterId=spec.cluster_id)["Cluster"]
    tags = {tag["Key"]: tag["Value"] for tag in cluster.get("Tags", ())}
    if tags.get(request.WHEELHOUSE_TAG) != wheelhouse_sha256:
        raise EmrError(f"CLUSTER={spec.cluster_id} has other Python packages than the job asks for; start another")


def start(spec: RunSpec, sent: Artifacts, agreed: Estimate, *, clients: Clients, show: Show) -> Step:
    """Start a cluster with the step, or give the step to the one that runs already.

    Raises:
        EmrError: the answer was lost, or the cluster lists no step; what was started has been ended.
        ClientError, BotoCoreError: AWS refuses.
    """
    sender = aws.once("emr", spec.cluster.region)
    if spec.cluster_id:
        step = once.add_step(clients, sender, spec.cluster_id, plan.step(spec, sent, agreed), show=show)
        return Step(cluster=spec.cluster_id, step=step, logs=spec.cluster.logs)
    if spec.in_emr_lab:
        account.ensure_in_emr_lab(spec.cluster.region)
    cluster = once.run_job_flow(clients, sender, plan.run_job_flow(spec, sent, agreed), show=show)
    try:
        return Step(cluster=cluster, step=_first_step(clients, cluster), logs=spec.cluster.logs)
    except BaseException:  # Ctrl-C too
        clients.emr.terminate_job_flows(JobFlowIds=[cluster])
        raise


def end(spec: RunSpec, step: Step, *, clients: Clients, show: Show) -> None:
    """End what a run started: its cluster, or on a cluster that others use its step alone."""
    try:
        if spec.cluster_stays and follow.snapshot(clients.emr, step).step in follow.DONE:
            return  # nothing runs; the cluster ends after ten idle minutes
        if spec.cluster_id:
            clients.emr.cancel_steps(
                ClusterId=step.cluster, StepIds=[step.step], StepCancellationOption="TERMINATE_PROCESS"
            )
            show(f"step {step.step} is cancelled; cluster {step.cluster} ends after ten idle minutes")
        else:
            clients.emr.terminate_job_flows(JobFlowIds=[step.cluster])
            show(f"cluster {step.cluster} is ended")
    except AWS_ERRORS as error:
        show(
            f"cluster {step.cluster} cannot be ended from here: {aws.explain(error)}; it ends by itself with its step, "
            "or after ten idle minutes"
        )


def _first_step(clients: Clients, cluster: str) -> str:
    started = clients.clock()
    while True:
        if step := next(aws.pages(clients.emr, "list_steps", "Steps", ClusterId=cluster), None):
            return str(step["Id"])
        if clients.clock() - started >= LISTED_S:
            raise EmrError(f"EMR has started cluster {cluster} and lists no step of it; it is ended, run again")
        clients.sleep(LISTED_PAUSE_S)
