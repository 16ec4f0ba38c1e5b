"""Why tasks don't run, in words that say what to do. Pure: a service's tasks in, a reason out.

The texts are those of Swarm's managers and agents from 20.10 to 28.
"""

from __future__ import annotations

import re

from reconciler.host.refusals import fault_of
from reconciler.plan.healing import describe_exit
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_errors import explain_refusal
from reconciler.runtime.swarm_crew import Service, SwarmTask
from reconciler.values import frozen

_EXIT = re.compile(r"task: non-zero exit \((\d+)\)")
_UNHEALTHY = re.compile(r"unhealthy container|health ?check", re.IGNORECASE)
_NO_IMAGE = re.compile(r"no such image|pull access denied|manifest unknown", re.IGNORECASE)
_STARTING = re.compile(r"^starting container failed: ")
_NO_NODE = "no suitable node"
_LAST_WORDS = "See its last lines in the log; correct the app, or its command, env or volumes."


@frozen
class Reason:
    """`never_ran`: nothing of it was started, so its output says nothing."""

    what: str
    todo: str
    never_ran: bool = False


def why_failed(service: Service, task: SwarmTask, workload: Workload) -> Reason:
    """Of one task that ended by itself, or that a node refused."""
    where = f" on {service.node_name(task.node)}" if task.node else ""
    if _UNHEALTHY.search(task.error):
        todo = "Correct the app or its check (http needs wget or curl), or raise health.timeout."
        return Reason(f"a task{where} never passed its health check", todo)
    if code := _EXIT.search(task.error):
        ended = describe_exit(int(code[1]), out_of_memory=False)
        return Reason(f"a task{where} exited with code {ended}", _LAST_WORDS)
    if _NO_IMAGE.search(task.error):
        return Reason(*_no_image(task, where), never_ran=True)
    if not task.error:
        return Reason(f"a task{where} is {task.state}", _LAST_WORDS)
    error = explain_refusal(_STARTING.sub("", task.error), workload)
    todo = error.todo or "Correct what it says, and deploy again."
    return Reason(f"{error.what} (a task{where})", todo, never_ran=True)


def _no_image(task: SwarmTask, where: str) -> tuple[str, str]:
    fault = fault_of(task.error)
    why = f": {fault.value}" if fault else ""
    return (
        f"the image can't be fetched{where}{why}",
        "Push it to a registry that each node reaches and trusts, and give its credentials in "
        "image.credentials.",
    )


def why_waiting(service: Service, deployment: str) -> Reason:
    """Why tasks that shall run don't yet, after all this time."""
    said = f"{len(service.serving(deployment))} of {service.count(deployment)} tasks run"
    waiting = [task for task in service.of(deployment) if task.coming]
    if not waiting:
        return Reason(f"only {said}", _LAST_WORDS)
    task = next((task for task in waiting if task.error), waiting[0])
    if _NO_NODE in task.error:
        todo = "Correct swarm.constraints, max_per_node or reserve, or bring up more nodes."
        return Reason(f"{said}: {task.error}", todo, never_ran=True)
    where = f" on {service.node_name(task.node)}" if task.node else ""
    why = f" ({task.error})" if task.error else ""
    state = "fetching the image" if task.state == "preparing" else task.state
    return Reason(f"{said}: a task{where} is {state}{why}", "Raise health.timeout, or see why.")


def is_unplaced(service: Service, deployment: str) -> bool:
    """Whether some task finds no node, although no node is missing that may come back."""
    down = any(node.active and not node.ready for node in service.nodes.values())
    waiting = [task for task in service.of(deployment) if task.coming]
    return not down and any(_NO_NODE in task.error for task in waiting)
