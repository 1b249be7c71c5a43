"""What the endpoint remembers: clusters with their nodes and steps, security configurations. One JSON file."""

from __future__ import annotations

import json
import os
import secrets
import string
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from base.errors import EmrlabError

# EMR forgets clusters two months after their end.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-clusters.html
KEPT_S = 60 * 24 * 3600

# https://docs.aws.amazon.com/emr/latest/APIReference/API_StepConfig.html
DEFAULT_ACTION_ON_FAILURE = "TERMINATE_CLUSTER"
DONE = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})
# Of a session: those in which it takes queries, those at its end.
READY = frozenset({"STARTED", "IDLE", "BUSY"})
ENDED = frozenset({"TERMINATED", "FAILED"})


@dataclass(kw_only=True)
class Collection:
    """An instance group or an instance fleet.

    Attributes:
        id: ig-… or if-….
        role: MASTER, CORE or TASK.
        instance_type: of its nodes; a fleet's first.
        spot: whether its nodes are asked for on spot.
        count: of the nodes that it is to have.
        request: as RunJobFlow had it; of a fleet, with the capacity that it is to have now.
        stopped: why it takes in no more nodes, until it is modified.
        decommission_timeout_s: of its ShrinkPolicy.
    """

    id: str
    role: str
    instance_type: str
    spot: bool
    count: int
    request: dict[str, Any]
    stopped: str = ""
    decommission_timeout_s: int | None = None


@dataclass(kw_only=True)
class Instance:
    """A machine of a cluster, and the node of the lab that stands for it; times are seconds since 1970.

    Attributes:
        id: ci-….
        ec2: i-….
        node: of the lab.
        collection: id of its group or fleet.
        spot: it is asked for on spot.
        state: PROVISIONING, BOOTSTRAPPING or RUNNING where it came while the cluster ran; else it follows the cluster.
        code, message: why it has ended.
        leaving_s: since when it is being decommissioned.
        timeout_s: how long YARN leaves then to what runs there.
        notice_s: when it is told that it will be taken away at `taken_s`, as a spot instance.
        replaceable_s: from when on there is a machine to be had in the place of one that was taken away.
        noticed: it has been told.
    """

    id: str
    ec2: str
    node: str
    collection: str
    spot: bool
    state: str = ""
    code: str = ""
    message: str = ""
    created_s: float | None = None
    ready_s: float | None = None
    ended_s: float | None = None
    leaving_s: float | None = None
    timeout_s: int = 0
    notice_s: float | None = None
    taken_s: float | None = None
    replaceable_s: float | None = None
    noticed: bool = False

    @property
    def joined(self) -> bool:
        """Return whether it has come as far as the cluster that it came with, and has not ended."""
        return self.ended_s is None and self.state in {"", "RUNNING"}


@dataclass(frozen=True, kw_only=True)
class SecurityConfiguration:
    """A security configuration of a region; `content` is its JSON as it came, `created_s` in seconds since 1970."""

    name: str
    region: str
    content: str
    created_s: float


@dataclass(kw_only=True)
class Step:
    """A step; times are seconds since 1970.

    Attributes:
        request: its StepConfig.
        message: why it is in this state.
        execution_role: ARN of its runtime role.
        failure: FailureDetails.
        process: its id at the primary's instance controller, known before it is started there: who stops meanwhile
            finds it again.
    """

    id: str
    request: dict[str, Any]
    created_s: float
    state: str = "PENDING"
    message: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    execution_role: str | None = None
    failure: dict[str, str] | None = None
    process: str | None = None

    @property
    def action_on_failure(self) -> str:
        """Return TERMINATE_CLUSTER (the default), CANCEL_AND_WAIT or CONTINUE."""
        action = str(self.request.get("ActionOnFailure", DEFAULT_ACTION_ON_FAILURE))
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else action


@dataclass(kw_only=True)
class Session:
    """A Spark Connect session; times are seconds since 1970.

    Attributes:
        request: StartSession's, without its tags.
        port: at which its server listens on the node where YARN puts it.
        message: why it is in this state.
        idle_since_s: None while it is busy.
        process: of the primary's instance controller, which submits the server.
        application: the server's id in YARN.
        server: host and port of the server, once it answers.
    """

    id: str
    request: dict[str, Any]
    tags: dict[str, str]
    port: int
    created_s: float
    updated_s: float
    state: str = "SUBMITTED"
    message: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    idle_since_s: float | None = None
    process: str | None = None
    application: str | None = None
    server: str | None = None

    def enter(self, state: str, message: str, *, now_s: float) -> None:
        """Change the state, with its reason."""
        self.state, self.message, self.updated_s = state, message, now_s
        self.idle_since_s = now_s if state == "IDLE" else None
        if state in ENDED:
            self.ended_s = now_s


@dataclass(kw_only=True)
class Cluster:
    """A cluster; times are seconds since 1970.

    Attributes:
        request: RunJobFlow's, without its steps and tags.
        uniform: has instance groups, not fleets.
        code, message: why it is in this state.
        with_errors: it ends, or has ended, other than by its steps or a user.
        concurrency: how many steps may run at once.
        idle_timeout_s: of the auto-termination policy, None for no policy.
        idle_since_s: None while something runs.
        keep_alive: stays without steps.
        scaling: its ManagedScalingPolicy.
        no_machines_until_s: until when there are no machines to be had for it, as when Amazon has none on spot.
        runtime_roles: its security configuration gives each step a role of its own.
    """

    id: str
    region: str
    account: str
    request: dict[str, Any]
    created_s: float
    uniform: bool
    collections: list[Collection]
    instances: list[Instance]
    tags: dict[str, str]
    keep_alive: bool
    protected: bool
    concurrency: int
    idle_timeout_s: int | None
    runtime_roles: bool = False
    scaling: dict[str, Any] | None = None
    no_machines_until_s: float = 0.0
    steps: list[Step] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    state: str = "STARTING"
    code: str = ""
    message: str = "Provisioning the lab's nodes."
    with_errors: bool = False
    ready_s: float | None = None
    ended_s: float | None = None
    idle_since_s: float | None = None

    @property
    def arn(self) -> str:
        """Return the cluster's ARN."""
        return f"arn:aws:elasticmapreduce:{self.region}:{self.account}:cluster/{self.id}"

    @property
    def logs(self) -> str | None:
        """Return `s3://…/<cluster>`, below which the cluster's logs come, or None."""
        uri = self.request.get("LogUri")
        return f"s3://{str(uri).partition('://')[2].rstrip('/')}/{self.id}" if uri else None

    def machines(self) -> list[Instance]:
        """Return the machines that it has now, also those that come and go."""
        return [each for each in self.instances if each.ended_s is None]

    def collection(self, collection_id: str) -> Collection | None:
        """Return the group or fleet of this id, or None."""
        return next((each for each in self.collections if each.id == collection_id), None)

    def step(self, step_id: str) -> Step | None:
        """Return the step of this id, or None."""
        return next((step for step in self.steps if step.id == step_id), None)

    def live_sessions(self) -> list[Session]:
        """Return the sessions that have not ended."""
        return [session for session in self.sessions if session.state not in ENDED]

    def active(self) -> list[Step]:
        """Return the steps that are not done."""
        return [step for step in self.steps if step.state not in DONE]


class StateError(EmrlabError):
    """The file of the clusters cannot be used."""


class ClusterStore:
    """The clusters by their ids, oldest first, the security configurations, and the file that both are kept in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clusters: dict[str, Cluster] = {}
        self.security_configurations: list[SecurityConfiguration] = []
        self._saved = ""

    def load(self, *, now_s: float) -> None:
        """Read the file, where there is one; clusters that ended two months ago are forgotten.

        Raises:
            OSError: it cannot be read.
            StateError: it is damaged, or of another version.
        """
        if not self.path.exists():
            return
        try:
            content = json.loads(self.path.read_bytes())
            clusters = [_cluster(record) for record in content["clusters"]]
            # What an endpoint wrote that had none is read, too.
            security_configurations = [
                SecurityConfiguration(**each) for each in content.get("security_configurations", [])
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{self.path} is damaged or of another version ({' '.join(str(error).split())[:200]}); "
                "remove the volume emr-state, which forgets the clusters"
            ) from error
        self.security_configurations = security_configurations
        self.clusters = {each.id: each for each in clusters if each.ended_s is None or now_s - each.ended_s < KEPT_S}

    def remember(self) -> Callable[[], None]:
        """Return what puts all records back as they are now; a record stays the object that it is."""
        clusters, security_configurations = dict(self.clusters), list(self.security_configurations)
        records = [
            each
            for cluster in clusters.values()
            for each in (cluster, *cluster.collections, *cluster.instances, *cluster.steps, *cluster.sessions)
        ]
        members = [
            {name: value.copy() if isinstance(value, (list, dict)) else value for name, value in vars(each).items()}
            for each in records
        ]

        def put_back() -> None:
            self.clusters, self.security_configurations = clusters, security_configurations
            for each, known in zip(records, members, strict=True):
                vars(each).update(known)

        return put_back

    def save(self) -> bool:
        """Replace the file by the clusters as they are now, if that changes it; return whether it does.

        Raises:
            OSError: it cannot be written.
        """
        content = json.dumps(
            {
                "clusters": [asdict(cluster) for cluster in self.clusters.values()],
                "security_configurations": [asdict(each) for each in self.security_configurations],
            }
        )
        if content == self._saved:
            return False
        half = self.path.with_suffix(".half")
        with half.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(self.path)
        self._saved = content
        return True


def _cluster(record: dict[str, Any]) -> Cluster:
    on_spot = {each["id"]: each["spot"] for each in record["collections"]}
    return Cluster(
        **{
            **record,
            "collections": [Collection(**each) for each in record["collections"]],
            # Of what an older endpoint wrote, a group's or fleet's word on spot holds for each of its machines.
            "instances": [Instance(**{"spot": on_spot[each["collection"]], **each}) for each in record["instances"]],
            "steps": [Step(**each) for each in record["steps"]],
            "sessions": [Session(**each) for each in record.get("sessions", [])],
        }
    )


def new_id(prefix: str) -> str:
    """Return an id as EMR makes them: `j-2AXXXXXXGAPLF`."""
    return f"{prefix}-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(13))
