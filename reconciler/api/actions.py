"""Mutations. Each puts a wish to the engine, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.api.models import (
    Cancelled,
    DeployInput,
    Empty,
    EnvironmentInput,
    Nothing,
    OfApplication,
    Success,
    UpdateInput,
)
from reconciler.api.procedures import Call, Procedure, declared_app, find_app, in_force
from reconciler.engine import control, environment
from reconciler.engine.cleanup import Keep, clear_app
from reconciler.engine.control import Rebuild, Words
from reconciler.engine.environment import EnvironmentChange
from reconciler.errors import SpecError, Transient
from reconciler.host.job import Job
from reconciler.host.limit import limited
from reconciler.queue import cancel_waiting
from reconciler.spec.loaded import LoadedSpec

Document = dict[str, Any]
ANSWER_SECONDS = 20.0
"""How long a caller waits for a git host to say what the newest source is."""


def deploy(call: Call) -> Document:
    """`application.deploy`: in the queue when this returns."""

    def ask(loaded: LoadedSpec, app: str, words: Words) -> None:
        control.deploy(call.backend.tools, loaded, app, words)

    return _ask(call, ask)


def redeploy(call: Call) -> Document:
    """`application.redeploy`: the version that serves, rebuilt with the current spec."""

    def ask(loaded: LoadedSpec, app: str, words: Words) -> None:
        control.redeploy(call.backend.tools, loaded, app, words, Rebuild())

    return _ask(call, ask)


def _ask(call: Call, ask: Callable[[LoadedSpec, str, Words], None]) -> Document:
    """Nothing is put into the queue once the caller was told that it took too long."""
    with limited(Job(), ANSWER_SECONDS) as job:
        loaded = _newest(call)
        app = declared_app(call, call.given.applicationId, loaded)
        words = Words(call.given.title or "", call.given.description or "", "api", job)
        ask(loaded, app, words)
    call.backend.wake()
    return {"success": True}


def _newest(call: Call) -> LoadedSpec:
    """The spec as it is written now, so that what was saved just before counts; else the last
    valid one.
    """
    known = in_force(call.backend)
    try:
        return call.backend.configuration.load()
    except (SpecError, Transient):
        return known


def cancel(call: Call) -> Document:
    """`application.cancelDeployment`: the one in progress, or about to be; the old container
    serves on.
    """
    control.cancel_next(call.backend.tools, find_app(call, call.given.applicationId))
    return {"success": True, "message": "Deployment cancellation requested"}


def clean_queues(call: Call) -> Document:
    """`application.cleanQueues`: those that wait; the one in progress goes on."""
    tools = call.backend.tools
    cancel_waiting(tools.store, tools.clock(), app=find_app(call, call.given.applicationId))
    return {}


def kill(call: Call) -> Document:
    """`application.killBuild`: by force."""
    control.kill(call.backend.tools, find_app(call, call.given.applicationId))
    return {}


def clear(call: Call) -> Document:
    """`application.clearDeployments`: what runs, and the last successful one, stay."""
    app = find_app(call, call.given.applicationId)
    clear_app(call.backend.tools, app, Keep(0, 0), dry_run=False)
    return {"success": True}


def save_environment(call: Call) -> bool:
    """`application.saveEnvironment`: an edit of the spec. What is left out stays."""
    backend, given = call.backend, call.given
    loaded = _newest(call)
    app = declared_app(call, given.applicationId, loaded)
    said = {_FIELDS[name]: getattr(given, name) for name in given.model_fields_set & _FIELDS.keys()}
    if said:
        message = f"Environment of {app}, by {call.caller.token.name}" if call.caller else ""
        change = EnvironmentChange(**said)
        environment.save_environment(backend.configuration, loaded, app, change, message)
        backend.look(f"the environment of {app} was saved", [app])
    return True


_FIELDS = {
    "env": "env",
    "buildArgs": "build_args",
    "buildSecrets": "build_secrets",
    "createEnvFile": "create_env_file",
}


def verify_token(_call: Call) -> bool:
    """`auth.verifyToken`: who comes here has a good one."""
    return True


MUTATIONS = (
    Procedure(
        "application.deploy", "mutation", "deploy",
        "Deploy the newest source: clone or pull, build, push, deploy, health check.",
        DeployInput, Success, deploy, slow=True,
    ),
    Procedure(
        "application.redeploy", "mutation", "deploy",
        "Rebuild and deploy the version that is deployed now, with the current configuration.",
        DeployInput, Success, redeploy, slow=True,
    ),
    Procedure(
        "application.cancelDeployment", "mutation", "deploy",
        "Cancel the deployment in progress; the old container serves on.",
        OfApplication, Cancelled, cancel, slow=True,
    ),
    Procedure(
        "application.cleanQueues", "mutation", "deploy",
        "Remove all waiting deployments; the one in progress goes on.",
        OfApplication, Empty, clean_queues, slow=True,
    ),
    Procedure(
        "application.killBuild", "mutation", "admin", "End the build by force.",
        OfApplication, Empty, kill, slow=True,
    ),
    Procedure(
        "application.clearDeployments", "mutation", "admin",
        "Clear old artifacts and logs; what runs, and the last successful one, stay.",
        OfApplication, Success, clear, slow=True,
    ),
    Procedure(
        "application.saveEnvironment", "mutation", "admin",
        "Replace the environment. A field left out stays as it is; null clears it.",
        EnvironmentInput, bool, save_environment, slow=True,
    ),
    Procedure(
        "application.update", "mutation", "admin",
        "The same, for clients that update the environment so.",
        UpdateInput, bool, save_environment, slow=True,
    ),
    Procedure(
        "auth.verifyToken", "mutation", "read", "Whether the token is good.",
        Nothing, bool, verify_token,
    ),
)  # fmt: skip
