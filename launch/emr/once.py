"""Calls that start something that bills: sent once, and where the answer is lost, looked for by a token of their own.

boto3 sends a request again when no answer comes, and EMR takes no client token: one RunJobFlow at a network that loses
answers was five clusters. So each call carries a random token, as a tag of the cluster or in the step's name.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
)
from botocore.exceptions import ConnectionError as NoConnection

from launch.emr import aws
from launch.emr.aws import AWS_ERRORS, NAME, EmrError
from launch.emr.follow import Clients, Show

RUN_TAG = "emrlab-run"
REFUSED_S = 60.0  # for which a call is tried again that AWS has refused just now
LOOK_S = 180.0  # how long what a call may have started is looked for: what AWS lists comes late
STOPPED_LOOK_S = 20.0  # the same where somebody waits for his Ctrl-C to end
PAUSE_S = 5.0
# From which ListClusters is asked, before this machine's time: its clock may be wrong.
CLOCK = timedelta(hours=1)

# IAM tells its other half of a new role within seconds, mostly.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
_YOUNG_ROLE = re.compile(
    "invalid ?instance ?profile|authorize instance ?profile"
    "|(role|profile).*(cannot be assumed|is invalid|not valid|does not exist|not found)",
    re.IGNORECASE,
)
# No connection came about, so that nothing was sent.
_UNSENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_CUT_OFF = (HTTPClientError, NoConnection, IncompleteReadError)


class _LostError(Exception):
    """The answer did not come: how that looks from here."""


def run_job_flow(clients: Clients, sender: Any, request: dict[str, Any], *, show: Show) -> str:
    """Start a cluster; its id.

    Args:
        clients: for the looking, and the time.
        sender: EMR's client of `aws.once`.
        request: RunJobFlow's arguments; the tag is added.
        show: takes a line for the user.

    Raises:
        EmrError: the answer was lost, and no cluster of this call is there, or it is not known.
        ClientError, BotoCoreError: AWS refuses.
    """
    tag, since = {"Key": RUN_TAG, "Value": secrets.token_hex(16)}, datetime.now(UTC) - CLOCK
    of_other_runs = set[str]()

    def find() -> str | None:
        for listed in aws.pages(clients.emr, "list_clusters", "Clusters", CreatedAfter=since):
            cluster_id = str(listed["Id"])
            if listed["Name"] != NAME or cluster_id in of_other_runs:
                continue
            tags = clients.emr.describe_cluster(ClusterId=cluster_id)["Cluster"].get("Tags", ())
            if tag in tags:
                return cluster_id
            if any(each["Key"] == RUN_TAG for each in tags):
                of_other_runs.add(cluster_id)
        return None

    return _once(
        lambda: sender.run_job_flow(**{**request, "Tags": [*request["Tags"], tag]}).get("JobFlowId"),
        find,
        lambda cluster_id: clients.emr.terminate_job_flows(JobFlowIds=[cluster_id]),
        what=("RunJobFlow", "cluster", f"has the tag {RUN_TAG}={tag['Value']}"),
        clients=clients,
        show=show,
    )


def add_step(clients: Clients, sender: Any, cluster: str, step: dict[str, Any], *, show: Show) -> str:
    """Give a cluster that runs one more step; its id. Arguments and errors as of `run_job_flow`."""
    name = f"{step['Name']}-{secrets.token_hex(8)}"

    def find() -> str | None:
        listed = aws.pages(clients.emr, "list_steps", "Steps", ClusterId=cluster)
        return next((str(each["Id"]) for each in listed if each["Name"] == name), None)

    def cancel(step_id: str) -> None:
        clients.emr.cancel_steps(ClusterId=cluster, StepIds=[step_id], StepCancellationOption="TERMINATE_PROCESS")

    def send() -> str | None:
        ids = sender.add_job_flow_steps(JobFlowId=cluster, Steps=[{**step, "Name": name}]).get("StepIds")
        return str(ids[0]) if ids else None

    words = ("AddJobFlowSteps", "step", f"of {cluster} has the name {name}")
    return _once(send, find, cancel, what=words, clients=clients, show=show)


def _once(
    send: Callable[[], str | None],
    find: Callable[[], str | None],
    end: Callable[[str], object],
    *,
    what: tuple[str, str, str],
    clients: Clients,
    show: Show,
) -> str:
    """What `send` started; at Ctrl-C it is ended."""
    call, kind, mark = what
    try:
        try:
            return _send(send, clients, show=show)
        except _LostError as lost:
            show(f"the answer to {call} was lost ({lost}); looking for the {kind} that {mark}")
        started, unseen = _look_for(find, clients, wait_s=LOOK_S)
    except KeyboardInterrupt:
        show(f"stopped while {call} was on its way; looking for what it has started")
        started, _ = _look_for(find, clients, wait_s=STOPPED_LOOK_S)
        if started is None:
            show(f"no {kind} is to be seen; make emr-status shows one that comes late, make emr-down ends it")
        else:
            end(started)
            show(f"{kind} {started} is ended")
        raise
    if started is not None:
        show(f"the answer was lost; {kind} {started} found by its mark")
        return started
    if unseen is not None:
        raise EmrError(
            f"the answer to {call} was lost, and whether it has started a {kind} cannot be seen: {unseen}; "
            f"make emr-status shows it, make emr-down ends it"
        )
    raise EmrError(f"the answer to {call} was lost, and no {kind} {mark}: nothing was started; run again")


def _send(send: Callable[[], str | None], clients: Clients, *, show: Show) -> str:
    """The answer; what AWS has surely not done is tried again for a minute.

    Raises:
        _LostError: no answer came, and AWS may have done it.
        ClientError, BotoCoreError: AWS refuses.
    """
    started, is_announced = clients.clock(), False
    while True:
        try:
            answer = send()
        except ClientError as error:
            young = bool(_YOUNG_ROLE.search(str(error)))
            if not (young or aws.is_throttled(error)):
                if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                    raise _LostError(aws.explain(error)) from error
                raise
            if clients.clock() - started >= REFUSED_S:
                raise
            if not is_announced:
                why = "a role that was just made is not known everywhere yet" if young else "AWS asks to slow down"
                show(f"{why} ({error.response['Error'].get('Message', '')}); trying for {REFUSED_S:.0f} s")
                is_announced = True
        except _UNSENT:
            if clients.clock() - started >= REFUSED_S:
                raise
        except _CUT_OFF as error:
            raise _LostError(type(error).__name__) from error
        else:
            if answer is None:
                raise _LostError("it came in part")
            return answer
        clients.sleep(PAUSE_S)


def _look_for(find: Callable[[], str | None], clients: Clients, *, wait_s: float) -> tuple[str | None, str | None]:
    """Its id, or None; why the last look saw nothing at all, or None."""
    started = clients.clock()
    while True:
        unseen = None
        try:
            found_id = find()
        except AWS_ERRORS as error:
            found_id, unseen = None, aws.explain(error)
        if found_id is not None or clients.clock() - started >= wait_s:
            return found_id, unseen
        clients.sleep(PAUSE_S)
