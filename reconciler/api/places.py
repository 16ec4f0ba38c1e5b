"""When two names mean the same repository, of code or of images. Pure.

    git@git.example.com:shop/api.git, ssh://git@git.example.com:2222/shop/api,
    https://git.example.com/shop/api.git           git.example.com/shop/api
    /srv/git/api.git, file:///srv/git/api           file:/srv/git/api
    a path without a host, from a sender that knows none   /shop/api

Too much costs one question to a git host, and too little a deployment that comes later: scheme,
user, port and case don't count.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

_URL = re.compile(r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?")
_SCP = re.compile(r"(?s)(?:[^\s@:/]+@)?(\[[^\]]+\]|[^\s@:/]+):(?!//)(.+)")
_SSH_HOSTS = ("ssh.", "altssh.")
"""What the big hosts put before their name where ssh listens on port 443."""
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_FILE = "file:"


def repository_key(url: str) -> str:
    """The name under which every URL of a git repository is the same; empty for no URL."""
    if match := _URL.fullmatch(url):
        scheme, authority, path = match[1].lower(), match[2], match[3] or ""
        host = "" if scheme == "file" else _host(authority)
        return _key(host, path) if host or scheme == "file" else ""
    if url.startswith("/"):
        return _key("", url)
    match = _SCP.fullmatch(url)
    return _key(_host(match[1]), match[2]) if match else ""


def repository_keys(urls: Iterable[str]) -> tuple[str, ...]:
    """The keys of what names one repository; `/shop/api` is a path on a host that isn't known."""
    keys = (_path(url) if url.startswith("/") else repository_key(url) for url in urls)
    return tuple(dict.fromkeys(key for key in keys if key))


def _host(authority: str) -> str:
    host = authority.rpartition("@")[2].lower()
    host = re.sub(r":\d*$", "", host).rstrip(".")
    for prefix in _SSH_HOSTS:
        if host.removeprefix(prefix).count("."):
            host = host.removeprefix(prefix)
    return host


def _key(host: str, path: str) -> str:
    path = _path(unquote(path.partition("?")[0].partition("#")[0]))
    if not host:
        return _FILE + path
    return host + path if path != "/" else ""


def _path(path: str) -> str:
    """Absolute, in lower case, without `.git`; nor the `scm/` of Bitbucket Server's https."""
    path = posixpath.normpath(f"/{path.strip('/')}").casefold().removesuffix(".git")
    return path.removeprefix("/scm") if path.startswith("/scm/") else path


def image_key(name: str) -> str:
    """The name under which every way to write an image's repository is the same."""
    first, slash, rest = name.lower().partition("/")
    if not (slash and (first == "localhost" or "." in first or ":" in first)):
        first, rest = _HUB[0], name.lower()
    if first in _HUB:
        first, rest = _HUB[0], rest if "/" in rest else f"library/{rest}"
    return f"{first}/{rest}"


def is_same_place(known: str, places: Collection[str]) -> bool:
    """Whether `known` is one of the places, host and path."""
    return known in places


def is_same_path(known: str, places: Collection[str]) -> bool:
    """Whether its path is one of those that stand for any host."""
    return known[known.find("/") :] in places
