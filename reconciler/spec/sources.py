"""Where an app comes from, and how secrets are referred to."""

# No `from __future__ import annotations`: annotations are read when the class is made.

from collections.abc import Iterator
from typing import Annotated

from reconciler.spec.declare import (
    OneOf,
    Rule,
    Section,
    about,
    section,
)
from reconciler.spec.fields import (
    EnvName,
    FilePath,
    GitUrl,
    ImageName,
    Raw,
    RelativePath,
    Switch,
    UserName,
)
from reconciler.spec.urls import has_credentials, is_ssh


@section
class EnvRef(Section):
    """A value taken from an environment variable of the process that runs reconcile."""

    env: EnvName = about("Name of the environment variable.", "DATABASE_URL")


@section
class FileRef(Section):
    """A value read from a file on the machine that runs reconcile."""

    file: FilePath = about(
        "Path of the file, absolute or relative to this file. One newline at its end is dropped.",
        "/run/secrets/database_url",
        "secrets/database_url",
    )


Ref = Annotated[EnvRef | FileRef, OneOf()]
"""A secret by reference."""
Value = Annotated[Raw | EnvRef | FileRef, OneOf()]
"""Plain text exactly as written, or a reference to a secret."""


@section
class Credentials(Section):
    """User name and password for a git host or a registry, the password by reference."""

    username: UserName = about(
        "User name; any text where a token is enough.", "deploy", "x-access-token"
    )
    password: Ref = about(
        "Password or token, by reference.",
        {"env": "REGISTRY_TOKEN"},
        {"file": "/run/secrets/registry_token"},
    )


@section
class GitSource(Section):
    """A git repository."""

    git: GitUrl = about(
        "URL: https://, http://, ssh://, user@host:path, file:// or an absolute path.",
        "https://git.example.com/shop/api.git",
        "git@git.example.com:shop/api.git",
        repr=False,
    )
    subdir: RelativePath = about(
        "Build context inside the repository.", "services/api", default="."
    )
    watch: tuple[RelativePath, ...] = about(
        "Further paths that count as this app's source: a commit that touches one rebuilds it.",
        ["libs/common"],
        default=(),
    )
    submodules: Switch = about("Check submodules out as well.", False, default=True)
    credentials: Credentials | None = about(
        "User name and password for https.",
        {"username": "deploy", "password": {"env": "GIT_TOKEN"}},
        default=None,
    )
    ssh_key: FileRef | None = about(
        "Private key file for ssh; default: the agent or ssh's own keys.",
        {"file": "/etc/reconciler/deploy_key"},
        default=None,
    )

    def rules(self) -> Iterator[Rule]:
        if self.credentials and is_ssh(self.git):
            yield "credentials", "credentials are for https; over ssh use ssh_key or the agent"
        elif self.credentials and has_credentials(self.git):
            yield "git", "the URL has credentials and so has 'credentials'; keep one"
        if self.ssh_key and not is_ssh(self.git):
            yield "ssh_key", "a key is for ssh; over https use credentials"


@section
class PathSource(Section):
    """A directory beside `apps.yaml`."""

    path: FilePath = about("Directory, relative to this file.", "./api", ".")
    subdir: RelativePath = about("Build context inside the directory.", "services/api", default=".")
    watch: tuple[RelativePath, ...] = about(
        "Further paths inside the directory that count as source.", ["libs/common"], default=()
    )


@section
class ImageSource(Section):
    """A ready image in a registry."""

    image: ImageName = about(
        "Repository of the image; its tag or digest is the app's revision.",
        "ghcr.io/shop/api",
        "postgres",
    )
    credentials: Credentials | None = about(
        "For the registry; default: docker's own configuration.",
        {"username": "deploy", "password": {"env": "REGISTRY_TOKEN"}},
        default=None,
    )


Source = Annotated[GitSource | PathSource | ImageSource, OneOf()]
