"""Queries: what is shown, in the words of the wire. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.api.errors import NotFound
from reconciler.api.models import (
    ApplicationGives,
    ApplicationLogInput,
    DeploymentGives,
    DeploymentLogInput,
    HealthGives,
    Nothing,
    OfApplication,
    OfProject,
    OfType,
    ProjectGives,
    UserGives,
)
from reconciler.api.procedures import Call, Procedure, find_app, in_force
from reconciler.engine.documents import iso
from reconciler.engine.environment import (
    show_build_args,
    show_build_secrets,
    show_environment,
)
from reconciler.engine.follow import read_end
from reconciler.engine.hook_tokens import hook_token
from reconciler.engine.output import Output
from reconciler.plan.places import Places, places_of
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App, GitSource, ImageSource
from reconciler.spec.urls import strip_credentials
from reconciler.state.records import AppRow, Deployment

Document = dict[str, Any]
SHOWN_DEPLOYMENTS = 20
LISTED_DEPLOYMENTS = 200
ENVIRONMENT = "production"
_OTHER_KINDS = ("compose", "mariadb", "mongo", "mysql", "postgres", "redis", "libsql")


# -- applications ----------------------------------------------------------------------------


def one(call: Call) -> Document:
    """`application.one`."""
    app = find_app(call, call.given.applicationId)
    loaded = in_force(call.backend)
    store = call.backend.tools.store
    with store.snapshot():  # or a deployment that ends in between would look like an older end
        row = store.find_app(app)
        rows = store.list_deployments(app, SHOWN_DEPLOYMENTS)
    found = application(loaded, app, row)
    found["deployments"] = [deployment(call, each) for each in rows]
    may_ask = call.caller is not None and call.caller.may("deploy")
    found["refreshToken"] = hook_token(store, app) if may_ask else None
    return found


def application(loaded: LoadedSpec, app: str, row: AppRow | None) -> Document:
    """One application without its deployments. Secrets show as references."""
    project, _, name = app.partition("/")
    environment = f"{project}-{ENVIRONMENT}"
    section = loaded.spec.apps.get(name)
    return {
        "applicationId": name,
        "name": name,
        "appName": app.replace("/", "-"),
        "description": section.title if section else None,
        "applicationStatus": row.status if row else "idle",
        "projectId": project,
        "environmentId": environment,
        "environment": {
            "environmentId": environment,
            "name": ENVIRONMENT,
            "projectId": project,
            "project": {"projectId": project, "name": project},
        },
        **_place(section, row),
        "resolvedRevision": row.resolved if row else "",
        "inSpec": section is not None,
        **_environment(section),
        **(_source(section) if section else {}),
    }


def _place(section: App | None, row: AppRow | None) -> Document:
    """`serverId`: the host, when it is on one that isn't the local engine, as clients know it."""
    shall = Places(section.runtime, section.host) if section else Places()
    places = places_of(row.settings) if row and row.serving else shall
    elsewhere = len(places.all) == 1 and places.hosts[0] != LOCAL
    server = places.hosts[0] if elsewhere else None
    return {"serverId": server, "runtime": places.runtime, "hosts": list(places.hosts)}


def _environment(section: App | None) -> Document:
    if section is None:
        return {"env": "", "buildArgs": None, "buildSecrets": None, "createEnvFile": False}
    return {
        "env": show_environment(section),
        "buildArgs": show_build_args(section) or None,
        "buildSecrets": show_build_secrets(section) or None,
        "createEnvFile": section.env_file,
    }


def _source(section: App) -> Document:
    found: Document = {"revision": section.revision or "", "buildType": "dockerfile"}
    if section.build.static:
        found["buildType"] = "static"
    source = section.source
    if isinstance(source, GitSource):
        found["sourceType"] = "git"
        found["customGitUrl"] = strip_credentials(source.git)
        found["customGitBranch"] = section.revision
    elif isinstance(source, ImageSource):
        found["sourceType"] = "docker"
        found["dockerImage"] = source.image
    else:
        found["sourceType"] = "path"
    return found


# -- projects --------------------------------------------------------------------------------


def all_projects(call: Call) -> list[Document]:
    """`project.all`: the one project, with the applications that the token is for."""
    return [_project(call)]


def one_project(call: Call) -> Document:
    """`project.one`. Raises `NotFound`."""
    found = _project(call)
    if call.given.projectId != found["projectId"]:
        raise NotFound("Project not found")
    return found


def _project(call: Call) -> Document:
    loaded = in_force(call.backend)
    project = loaded.spec.project
    rows = {row.app: row for row in call.backend.tools.store.list_apps(project)}
    names = [f"{project}/{name}" for name in loaded.spec.apps]
    seen = [app for app in names if call.caller is None or call.caller.sees(app)]
    applications = [application(loaded, app, rows.get(app)) for app in seen]
    none: Document = {kind: [] for kind in _OTHER_KINDS}
    environment = {
        "environmentId": f"{project}-{ENVIRONMENT}",
        "name": ENVIRONMENT,
        "description": "",
        "isDefault": True,
        "projectId": project,
        "env": "",
        "applications": applications,
        **none,
    }
    return {
        "projectId": project,
        "name": project,
        "description": "",
        "env": "",
        "applications": applications,
        **none,
        "environments": [environment],
    }


# -- deployments -----------------------------------------------------------------------------


def all_deployments(call: Call) -> list[Document]:
    """`deployment.all`, newest first."""
    return _deployments(call, call.given.applicationId)


def deployments_by_type(call: Call) -> list[Document]:
    """`deployment.allByType`."""
    return _deployments(call, call.given.id)


def _deployments(call: Call, asked: str) -> list[Document]:
    app = find_app(call, asked)
    rows: Iterable[Deployment] = call.backend.tools.store.list_deployments(app, LISTED_DEPLOYMENTS)
    return [deployment(call, row) for row in rows]


def deployment(call: Call, row: Deployment) -> Document:
    """One deployment. `errorMessage`: why it failed, and what to do now."""
    hide = call.backend.tools.redactor.hide
    reason = hide(f"{row.reason}. {row.todo}" if row.todo else row.reason)
    return {
        "deploymentId": row.id,
        "applicationId": row.app.partition("/")[2],
        "title": row.title or row.kind.capitalize(),
        "description": row.description,
        "status": row.status,
        "outcome": row.outcome,
        "kind": row.kind,
        "cause": hide(row.cause),
        "stage": row.stage,
        "reason": reason,
        "errorMessage": reason if row.status == "error" else None,
        "revision": row.revision,
        "resolvedRevision": row.resolved,
        "image": row.image or row.image_id,
        "createdAt": iso(row.queued_at),
        "startedAt": iso(row.started_at),
        "finishedAt": iso(row.finished_at),
    }


def deployment_log(call: Call) -> str:
    """`deployment.readLogs`. Raises `NotFound`, also for another app's deployment."""
    store = call.backend.tools.store
    row = store.find_deployment(call.given.deploymentId)
    if row is None or (call.caller is not None and not call.caller.sees(row.app)):
        raise NotFound("Deployment not found")
    text = read_end(store.log_path(row.app, row.id), call.given.tail)
    return call.backend.tools.redactor.hide(text)


def application_log(call: Call) -> str:
    """`application.readLogs`: what the app's container wrote."""
    app = find_app(call, call.given.applicationId)
    tools = call.backend.tools
    lines = Output(tools.store, tools.runtime, app).lines(call.given.tail)
    wanted = call.given.search
    kept = [line for line in lines if not wanted or wanted in line]
    return call.backend.tools.redactor.hide("\n".join(kept))


# -- the rest --------------------------------------------------------------------------------


def health(_call: Call) -> Document:
    """`settings.health`, for everybody."""
    return {"status": "ok"}


def user(call: Call) -> Document:
    """`user.get`: clients ask it to see whether their token is good."""
    assert call.caller is not None  # noqa: S101 - its scope says so
    token = call.caller.token
    return {
        "id": token.name,
        "userId": token.name,
        "role": token.scope,
        "user": {"id": token.name, "name": token.name, "role": token.scope},
        "applications": list(token.apps),
    }


QUERIES = (
    Procedure(
        "application.one", "query", "read",
        "One application: its status, environment and deployments, newest first.",
        OfApplication, ApplicationGives, one,
    ),
    Procedure(
        "application.readLogs", "query", "read", "What the application's container wrote.",
        ApplicationLogInput, str, application_log, slow=True,
    ),
    Procedure(
        "deployment.all", "query", "read", "The deployments of an application, newest first.",
        OfApplication, list[DeploymentGives], all_deployments,
    ),
    Procedure(
        "deployment.allByType", "query", "read", "The same, for clients that ask by type.",
        OfType, list[DeploymentGives], deployments_by_type,
    ),
    Procedure(
        "deployment.readLogs", "query", "read", "The log of one deployment.",
        DeploymentLogInput, str, deployment_log,
    ),
    Procedure(
        "project.all", "query", "read", "The project, with the applications of the token.",
        Nothing, list[ProjectGives], all_projects,
    ),
    Procedure(
        "project.one", "query", "read", "The project by its id.",
        OfProject, ProjectGives, one_project,
    ),
    Procedure(
        "settings.health", "query", "", "Whether the API answers.", Nothing, HealthGives, health
    ),
    Procedure("user.get", "query", "read", "Whose token it is.", Nothing, UserGives, user),
)  # fmt: skip
