"""Where a git repository is: a URL taken apart, without what must not be seen."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import field
from urllib.parse import unquote

from reconciler.errors import SourceError
from reconciler.spec.urls import check_git_url, is_ssh, redact_url
from reconciler.values import frozen


@frozen
class Login:
    """User name and password for one host over http or https."""

    username: str
    password: str = field(repr=False)


@frozen
class Address:
    """A repository's place. `url` has no credentials: it may stand in argv and in messages.

    `kind`: `https`, `http`, `ssh` or `file`. `host`: with its port and without a user, empty for
    files. `login`: what the user wrote into the URL itself.
    """

    url: str
    kind: str
    host: str
    login: Login | None = None

    @property
    def key(self) -> str:
        """A name for files that belong to this repository."""
        return hashlib.sha256(self.url.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    @property
    def origin(self) -> tuple[str, str]:
        """Whoever gets one secret of this origin may get it for all of it."""
        return self.kind, self.host


def parse_address(url: str, app: str = "") -> Address:
    """The address in `url`. Raises `SourceError` for what git must not be called with."""
    try:
        check_git_url(url)
    except ValueError as error:
        raise SourceError(
            f"the git URL {redact_url(url)!r} can't be used: {error.args[0]}",
            app=app,
            todo="Correct the URL.",
        ) from None
    if url.startswith("/"):
        return Address(url, "file", "")
    if "://" not in url:
        return Address(url, "ssh", url.rpartition("@")[2].partition(":")[0].lower())
    return _parse_scheme(url, app)


def _parse_scheme(url: str, app: str) -> Address:
    scheme, _, rest = url.partition("://")
    kind = scheme.lower()
    if kind == "file":
        return Address(f"file://{rest.removeprefix('localhost')}", kind, "")
    authority, slash, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if is_ssh(url):
        user = userinfo.partition(":")[0] + at
        return Address(f"ssh://{user}{host}{slash}{path}", kind, host.lower())
    if "?" in path or "#" in path:
        raise SourceError(
            f"the git URL {redact_url(url)!r} has a query",
            app=app,
            todo="Remove it; a token belongs into source.credentials.",
        )
    username, _, password = userinfo.partition(":")
    login = Login(unquote(username), unquote(password)) if userinfo else None
    return Address(f"{kind}://{host}{slash}{path}", kind, host.lower(), login)


def submodule_address(url: str, parent: Address, app: str) -> Address:
    """The address that a repository at `parent` gives for a submodule. Untrusted input.

    `./` and `../` count from the parent's URL, as git does it. Files are only for parents that
    are files themselves. Raises `SourceError`.
    """
    if url.startswith(("./", "../")):
        url = _join(parent.url, url)
    address = parse_address(url, app)
    if address.kind == "file" and parent.kind != "file":
        raise SourceError(
            f"a submodule of {parent.url} points to the local path {redact_url(url)}",
            app=app,
            todo="Give the submodule a URL with a host, or set `submodules: false`.",
        )
    return address


def _join(base: str, relative: str) -> str:
    """`relative` counted from `base`; never above the host."""
    scheme, separator, rest = base.rpartition("://")
    if separator and scheme.lower() != "file":
        host, slash, path = rest.partition("/")
        head = f"{scheme}://{host}{slash}"
    elif is_ssh(base):
        host, _, path = base.partition(":")
        head = f"{host}:"
        if path.startswith("/"):
            head, path = f"{head}/", path[1:]
    else:
        head, path = base[: len(base) - len(rest)] + "/", rest.lstrip("/")
    joined = posixpath.normpath(f"/{path}/{relative}").lstrip("/")
    return head + joined
