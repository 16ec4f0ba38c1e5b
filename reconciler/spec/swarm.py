"""What an app says of its service on a Swarm, beside what it says of its containers anyway."""

# No `from __future__ import annotations`: annotations are read when the class is made.

import re
from collections.abc import Iterator
from typing import Literal

from reconciler.spec.declare import Rule, Section, about, section
from reconciler.spec.fields import Count, Duration, Grace, Line, Percent, SecretId
from reconciler.spec.sections import Resources
from reconciler.spec.sources import Ref

_LABEL = r"(?:node|engine)\.labels\.[\w./-]+"
_CONSTRAINT = rf"(?:node\.(?:id|hostname|role|ip|platform\.(?:os|arch))|{_LABEL})\s*[!=]=\s*\S.*"


@section
class Swarm(Section):
    """The service of an app with `runtime: swarm`."""

    mode: Literal["replicated", "global"] = about(
        "replicated: `replicas` tasks wherever there is room. global: one on every node.",
        "global",
        default="replicated",
    )
    order: Literal["start-first", "stop-first"] | None = about(
        "Whether a task's successor starts before the task stops. Default: start-first, and "
        "stop-first with ports in host mode or volumes that are written to.",
        "stop-first",
        default=None,
    )
    parallelism: Count = about("Tasks that are replaced at once.", 2, default=1)
    delay: Grace = about("Pause between them.", "10s", default="0s")
    monitor: Duration = about("How long each is watched for a failure.", "30s", default="5s")
    failure_action: Literal["rollback", "pause"] = about(
        "What the Swarm does when an update fails. The deployment has failed either way; with "
        "pause, the tasks stay as they are until it is put back.",
        "pause",
        default="rollback",
    )
    max_failure_ratio: Percent = about(
        "The share of tasks that may fail during an update.", "10%", default="0%"
    )
    constraints: tuple[Line, ...] = about(
        "Which nodes may run it.", ["node.labels.zone == a"], default=()
    )
    spread: tuple[Line, ...] = about(
        "Node labels over whose values tasks are spread evenly.", ["node.labels.zone"], default=()
    )
    max_per_node: Count | None = about("Most tasks on one node.", 1, default=None)
    endpoint_mode: Literal["vip", "dnsrr"] = about(
        "How the service's name is resolved: to one address, which needs IPVS, or to those of the "
        "tasks.",
        "dnsrr",
        default="vip",
    )
    publish: Literal["ingress", "host"] = about(
        "Where `ports` answer: on every node, or on those that run a task.",
        "host",
        default="ingress",
    )
    reserve: Resources = about(
        "What a node must have free for each task.", {"memory": "256m"}, default_factory=Resources
    )
    secrets: dict[SecretId, Ref] = about(
        "Files below /run/secrets in the containers, kept by the Swarm.",
        {"database_password": {"env": "DATABASE_PASSWORD"}},
        default_factory=dict,
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        for constraint in self.constraints:
            if not re.fullmatch(_CONSTRAINT, constraint):
                yield (
                    "constraints",
                    f"{constraint!r} is no constraint",
                    "such as node.role == worker",
                )
        for label in self.spread:
            if not re.fullmatch(_LABEL, label):
                yield "spread", f"{label!r} is no label of nodes", "such as node.labels.zone"
        if self.reserve.pids is not None:
            yield "reserve", "processes can't be reserved", "limit them in resources.pids"
