"""How git reaches a repository: which settings and which secrets a git process gets.

Secrets go through the environment of the one process that needs them: never into argv, never
into a file. A password is given by a credential helper that git asks for one host only, so a
redirect to another host doesn't carry it away.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from types import MappingProxyType

from reconciler.errors import SecretError
from reconciler.host.secrets import Secrets
from reconciler.source.address import Address, Login, parse_address
from reconciler.spec.models import FileRef, GitSource
from reconciler.values import frozen

Environment = Mapping[str, str | None]

_REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_QUARANTINE_PATH",
    "GIT_IMPLICIT_WORK_TREE",
)
"""What git tells a hook about its own repository, which is none of ours."""

PLAIN: Environment = MappingProxyType(
    {
        **dict.fromkeys(_REPOSITORY_VARIABLES),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }
)
"""Environment of every git: English words, and no question that nobody would answer."""

_USERNAME, _PASSWORD = "RECONCILER_GIT_USERNAME", "RECONCILER_GIT_PASSWORD"
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    f'"${_USERNAME}" "${_PASSWORD}"; }}; f'
)
_SSH_OPTIONS = (
    "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
)
_HTTP_SETTINGS = ("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60")


@frozen
class Access:
    """A repository and the way to it. The login and the key are only for `address`'s origin.

    `todo`: what to do when the host refuses them, where it isn't what the spec says.
    """

    address: Address
    login: Login | None = field(default=None, repr=False)
    ssh_key: Path | None = None
    todo: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Options of git itself, for argv; nothing secret."""
        if self.address.kind not in ("https", "http"):
            return ()
        if self.login is None:
            return _HTTP_SETTINGS
        scope = f"{self.address.kind}://{self.address.host}"
        # The empty one forgets the helpers of the user, who would be asked to store it.
        helpers = ("-c", "credential.helper=", "-c", f"credential.{scope}.helper={_HELPER}")
        return (*_HTTP_SETTINGS, *helpers)

    @property
    def environment(self) -> Environment:
        """Environment of a git process that talks to the repository."""
        if self.address.kind == "ssh":
            return {**PLAIN, "GIT_SSH_COMMAND": self._ssh_command()}
        if self.login is None or self.address.kind == "file":
            return PLAIN
        return {**PLAIN, _USERNAME: self.login.username, _PASSWORD: self.login.password}

    def _ssh_command(self) -> str:
        # git gives this to a shell.
        command = f"{os.environ.get('GIT_SSH_COMMAND') or 'ssh'} {_SSH_OPTIONS}"
        if self.ssh_key is None:
            return command
        key = str(self.ssh_key).replace("%", "%%")  # ssh has placeholders such as %h
        return f"{command} -o IdentitiesOnly=yes -i {shlex.quote(key)}"

    def to_submodule(self, address: Address) -> Access:
        """The way to a submodule. It gets the secrets only on the very same host."""
        if address.origin == self.address.origin:
            return replace(self, address=address, login=address.login or self.login)
        return Access(address, address.login)


def make_access(source: GitSource, secrets: Secrets, app: str) -> Access:
    """Read what `source` refers to. Raises `SourceError` and `SecretError`."""
    address = parse_address(source.git, app)
    login = address.login
    if source.credentials is not None:
        what = "source.credentials.password"
        password = secrets.read(source.credentials.password, app=app, what=what)
        login = Login(source.credentials.username, password)
    if login is not None:
        _check(login, app)
        for part in (address.login.username if address.login else "", login.password):
            secrets.redactor.learn(part)
    key = _find_key(source.ssh_key, secrets, app) if source.ssh_key else None
    return Access(replace(address, login=None), login, key)


def _check(login: Login, app: str) -> None:
    if any(character in login.username + login.password for character in "\n\r\0"):
        raise SecretError(
            "the git credentials have more than one line",
            app=app,
            todo="Correct what source.credentials refers to.",
        )


def _find_key(ref: FileRef, secrets: Secrets, app: str) -> Path:
    path = secrets.base_dir / Path(ref.file).expanduser()
    if not os.access(path, os.R_OK) or not path.is_file():
        raise SecretError(
            f"source.ssh_key refers to the file {ref.file}, which can't be read",
            app=app,
            todo=f"Create {path} or correct the path.",
        )
    return path
