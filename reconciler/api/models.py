"""What calls take and give, as the OpenAPI document shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ApplicationId = Annotated[
    str, Field(min_length=1, max_length=300, description="The app's name, or `<project>/<name>`.")
]
Tail = Annotated[int, Field(ge=1, le=10_000, description="Only the last lines.")]
EnvText = Annotated[
    str | None, Field(description="Lines of KEY=VALUE. Left out: stays; null: clears.")
]


class Takes(BaseModel):
    """Input. Fields that aren't known are passed over, as clients send more than they need."""

    model_config = ConfigDict(extra="ignore")


class Nothing(Takes):
    """No input."""


class OfApplication(Takes):
    """One application."""

    applicationId: ApplicationId  # noqa: N815 - the wire's name


class DeployInput(OfApplication):
    """Which application to deploy, and words for history."""

    title: Annotated[str | None, Field(max_length=1000)] = None
    description: Annotated[str | None, Field(max_length=10_000)] = None


class EnvironmentInput(OfApplication):
    """What the environment becomes. A value of the form `${{env.NAME}}` or `${{file.PATH}}` is a
    reference that the application has; it stays one.
    """

    env: EnvText = None
    buildArgs: EnvText = None  # noqa: N815
    buildSecrets: EnvText = None  # noqa: N815
    createEnvFile: Annotated[  # noqa: N815
        bool | None, Field(description="Also write env as .env into the build context.")
    ] = None


class UpdateInput(EnvironmentInput):
    """The same; every other field of an application is kept in the spec, and refused here."""

    model_config = ConfigDict(extra="forbid")


class OfProject(Takes):
    """One project."""

    projectId: Annotated[str, Field(min_length=1, max_length=300)]  # noqa: N815


class OfType(Takes):
    """Deployments of one thing; here everything is an application."""

    id: ApplicationId
    type: Literal["application"]


class DeploymentLogInput(Takes):
    """Which deployment's log."""

    deploymentId: Annotated[str, Field(min_length=1, max_length=100)]  # noqa: N815
    tail: Tail | None = None


class ApplicationLogInput(OfApplication):
    """Which application's output."""

    tail: Tail = 100
    search: Annotated[str | None, Field(max_length=500, description="Only lines with it.")] = None


class Gives(BaseModel):
    """Output. Fields are added, never renamed."""

    model_config = ConfigDict(extra="allow")


class Success(Gives):
    """Accepted."""

    success: Literal[True]


class Cancelled(Success):
    """The deployment in progress is asked to end, or has ended."""

    message: Literal["Deployment cancellation requested"]


class Empty(Gives):
    """`{}`"""


Time = Annotated[str | None, Field(description="ISO 8601 in UTC.")]
ApplicationStatus = Literal["idle", "running", "done", "error"]


class DeploymentGives(Gives):
    """One deployment. `outcome` says why it ended."""

    deploymentId: str  # noqa: N815
    applicationId: str  # noqa: N815
    title: str
    description: str
    status: Literal["queued", "running", "done", "error"]
    outcome: str | None
    cause: str
    stage: str
    errorMessage: str | None  # noqa: N815
    createdAt: Time  # noqa: N815
    startedAt: Time  # noqa: N815
    finishedAt: Time  # noqa: N815


class ApplicationBrief(Gives):
    """One application, as the list shows it."""

    applicationId: str  # noqa: N815
    name: str
    appName: str  # noqa: N815
    description: str | None
    applicationStatus: ApplicationStatus  # noqa: N815
    projectId: str  # noqa: N815
    environmentId: str  # noqa: N815
    env: str
    serverId: Annotated[  # noqa: N815
        str | None, Field(description="The host that it is on, where that is one other machine.")
    ]
    runtime: Literal["docker", "swarm"]
    hosts: list[str]


class ApplicationGives(ApplicationBrief):
    """One application and its deployments, newest first."""

    buildArgs: str | None  # noqa: N815
    buildSecrets: str | None  # noqa: N815
    createEnvFile: bool  # noqa: N815
    deployments: list[DeploymentGives]
    refreshToken: Annotated[  # noqa: N815
        str | None,
        Field(description="The end of its own URL, /api/deploy/TOKEN; needs the scope deploy."),
    ]


class EnvironmentGives(Gives):
    """The one environment that a project has."""

    environmentId: str  # noqa: N815
    name: str
    applications: list[ApplicationBrief]


class ProjectGives(Gives):
    """A project; its applications stand here and in its environment."""

    projectId: str  # noqa: N815
    name: str
    applications: list[ApplicationBrief]
    environments: list[EnvironmentGives]


class UserGives(Gives):
    """Whose token it is."""

    id: str
    role: str


class HealthGives(Gives):
    """The API answers."""

    status: Literal["ok"]


class UnauthorizedAnswer(BaseModel):
    """No credential, or one that counts no more."""

    message: str


class ErrorData(BaseModel):
    """The same for programs."""

    code: str
    httpStatus: int  # noqa: N815
    path: str
    zodError: Any | None = None  # noqa: N815


class IssueAnswer(BaseModel):
    """One mistake in the input."""

    path: list[str | int]
    message: str


class ErrorAnswer(BaseModel):
    """What went wrong, and what to do now."""

    message: str
    code: str
    data: ErrorData
    issues: list[IssueAnswer] | None = None
