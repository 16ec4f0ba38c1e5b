"""What a field of the spec may hold: annotated types, with their checks.

A check returns the text, normalised, or raises ValueError(sentence, hint="").
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from typing import Annotated

from reconciler.spec import scalars
from reconciler.spec.cron import check_cron, check_zone
from reconciler.spec.declare import Flag, HostPath, Mount, Number, OrItem, RawText, Text
from reconciler.spec.images import (
    IMAGE_NAME,
    IMAGE_REFERENCE,
    check_image,
    check_reference,
    check_repository,
)
from reconciler.spec.messages import near_miss
from reconciler.spec.scalars import CONTROL, DURATION_UNIT, OTHERS_HOME
from reconciler.spec.urls import check_git_url

_LEAST_MEMORY = 6 << 20
_MOST_MEMORY = 1 << 62


def _duration(text: str) -> str:
    if scalars.seconds(text) <= 0:
        raise ValueError("expected a duration above zero")
    return text


def _grace(text: str) -> str:
    scalars.seconds(text)
    return text


def _percent(text: str) -> str:
    scalars.share(text)
    return text


def _memory(text: str) -> str:
    number = scalars.size_bytes(text)
    if number < _LEAST_MEMORY:
        raise ValueError("docker needs at least 6m")
    if number > _MOST_MEMORY:
        raise ValueError("expected a size below 4194304t")
    return text


def _port(text: str) -> str:
    scalars.parse_port(text)
    return text


def _volume(text: str) -> str:
    scalars.parse_volume(text)
    return text


def _relative(path: str) -> str:
    if not path or path.startswith(("/", "~")) or ".." in path.split("/") or "\\" in path:
        raise ValueError("expected a path inside, without .. and not absolute")
    if re.search(CONTROL, path):
        raise ValueError("a path has no control characters")
    return os.path.normpath(path)


def _host_path(path: str) -> str:
    if not path or re.search(CONTROL, path):
        raise ValueError("expected a path, without control characters")
    if re.match(OTHERS_HOME, path):
        raise ValueError("expected ~/… or the full path")
    return path


def _domain(text: str) -> str:
    labels = text.lower().removeprefix("*.").split(".")
    if not all(re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", label) for label in labels):
        hint = "write names outside of ASCII as xn--…" if not text.isascii() else ""
        raise ValueError("expected a domain such as shop.example.com or *.example.com", hint)
    return text.lower()


def _route_path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or re.search(r"[?#\\\"' ]|//|/\.\.?(/|$)", text):
        raise ValueError("expected a path such as / or /api, without a query")
    return text.rstrip("/") or "/"


def _address(text: str) -> str:
    from ipaddress import ip_address

    try:
        return text if text == "*" else str(ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address, or *") from None


def _network(text: str) -> str:
    from ipaddress import ip_network

    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, or an address") from None


_RESTARTS = ("no", "always", "unless-stopped", "on-failure")


def _restart(text: str) -> str:
    if not re.fullmatch(r"no|always|unless-stopped|on-failure(?::[1-9][0-9]{0,5})?", text):
        sentence = "expected no, always, unless-stopped or on-failure[:times]"
        raise ValueError(sentence, near_miss(text[:40], _RESTARTS))
    return text


def _label_key(text: str) -> str:
    if not text or re.search(CONTROL, text):
        raise ValueError("a label's name is text of one line that isn't empty")
    if text.partition(".")[0] == "reconciler":
        raise ValueError("labels that begin with 'reconciler.' are this program's own")
    return text


def matching(pattern: str, sentence: str) -> Callable[[str], str]:
    """A check that `pattern` matches the whole text; `sentence` is the error's."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(sentence)
        return text

    return check


def _like(pattern: str, sentence: str, plural: str = "text", *, hidden: bool = False) -> Text:
    return Text(matching(pattern, sentence), f"^(?:{pattern})$", plural=plural, hidden=hidden)


_RELATIVE = r"^(?![/~])(?!(?:.*/)?\.\.(?:/|$))[^\\]+$"
Argument = Annotated[str, Text(hidden=True)]

Name = Annotated[
    str,
    _like(
        "[a-z0-9][a-z0-9_.-]{0,62}",
        "expected a name of up to 63 lower-case letters, digits, '-', '_' and '.', "
        "beginning with a letter or digit",
    ),
]
NetworkName = Annotated[
    str,
    _like(
        "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,126}",
        "expected a network's name of letters, digits, '-', '_' and '.'",
        "networks' names",
    ),
]
Names = Annotated[tuple[Name, ...], OrItem("a name, or a list of names")]
EnvName = Annotated[
    str,
    _like(
        "[^=\\x00-\\x1f\\x7f]+",
        "expected a variable's name, not empty and without '='",
        hidden=True,
    ),
]
LabelKey = Annotated[str, Text(_label_key, pattern=r"^(?!reconciler(?:\.|$))[^\x00-\x1f\x7f]+$")]
SecretId = Annotated[
    str,
    _like("[a-zA-Z0-9][a-zA-Z0-9_.-]*", "expected a secret's id of letters, digits, '-', '_', '.'"),
]
Line = Annotated[str, _like(r"[^\x00-\x1f\x7f]+", "expected text of one line that isn't empty")]
UserName = Annotated[
    str,
    _like(r"[^:\x00-\x1f\x7f]+", "expected a user name without ':'", hidden=True),
]
User = Annotated[str, _like(r"[^\s:-][^\s:]*(?::[^\s:]+)?", "expected user, uid, or uid:gid")]
Stage = Annotated[str, _like(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", "expected the name of a stage")]
AbsolutePath = Annotated[str, _like(r"/[^\x00-\x1f\x7f]*", "expected a path that begins with /")]
RelativePath = Annotated[str, Text(_relative, expects="a path", pattern=_RELATIVE, plural="paths")]
FilePath = Annotated[
    str, HostPath(_host_path, expects="a path", pattern="^[^\\x00-\\x1f\\x7f]+$", hidden=True)
]
HealthPath = Annotated[
    str, _like(r"/[!-~]*", "expected a path that begins with / and has no spaces")
]
Duration = Annotated[
    str,
    Text(
        _duration, expects="a duration such as 10s, 5m or 1h30m", pattern=f"^(?:{DURATION_UNIT})+$"
    ),
]
Grace = Annotated[
    str,
    Text(_grace, expects="a duration such as 10s, 5m or 1h30m", pattern=f"^(?:{DURATION_UNIT})+$"),
]
Memory = Annotated[
    str,
    Text(
        _memory,
        expects="a size such as 512m or 1g",
        pattern=r"^\d{1,15}(?:\.\d{1,9})?\s*[kKmMgGtT]?(?:[iI]?[bB])?$",
    ),
]
Cron = Annotated[
    str,
    Text(
        check_cron,
        expects="a cron expression of five fields",
        pattern=r"^\s*\S+(?:\s+\S+){4}\s*$",
    ),
]
Zone = Annotated[str, Text(check_zone, expects="a time zone", pattern=r"^[A-Za-z0-9_+/-]+$")]
PortNumber = Annotated[int, Number(1, 65535, expects="a port's number")]
Count = Annotated[int, Number(1, 1_000_000)]
Concurrency = Annotated[int, Number(1, 64)]
Replicas = Annotated[int, Number(1, 100)]
Percent = Annotated[
    str,
    Text(
        _percent, expects="a share such as 5%", pattern=r"^\d{1,3}(?:\.\d{1,3})?%$", plural="shares"
    ),
]
Cores = Annotated[float, Number(0.01, 10_000.0)]
PortMapping = Annotated[
    str,
    Text(
        _port,
        expects="[address:]host:container[/udp], such as 127.0.0.1:8080:80",
        pattern=r"^(?:(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?"
        r"\d{1,5}:\d{1,5}(?:/(?:tcp|udp))?$",
        plural="ports",
    ),
]
VolumeMapping = Annotated[
    str,
    Mount(
        _volume,
        expects="name:/path or ./directory:/path",
        pattern=r"^[^:]+:/[^:]+(?::(?:ro|rw))?$",
        plural="mounts",
    ),
]
Domain = Annotated[
    str,
    Text(
        _domain,
        expects="a domain",
        pattern=r"^(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$",
        plural="domains",
    ),
]
RoutePath = Annotated[str, Text(_route_path, expects="a path", pattern="^/[!-~]*$")]
Address = Annotated[
    str, Text(_address, expects="an address", pattern=r"^(?:\*|[0-9a-fA-F.:\[\]]+)$")
]
Network = Annotated[
    str,
    Text(
        _network, expects="a network", pattern="^[0-9a-fA-F.:]+(?:/\\d{1,3})?$", plural="networks"
    ),
]
RestartPolicy = Annotated[
    str,
    Text(_restart, pattern=r"^(?:no|always|unless-stopped|on-failure(?::[1-9]\d{0,5})?)$"),
]
ImageName = Annotated[str, Text(check_image, expects="an image's name", pattern=IMAGE_NAME)]
Repository = Annotated[
    str, Text(check_repository, expects="a repository's name", pattern=IMAGE_NAME)
]
ImageReference = Annotated[
    str, Text(check_reference, expects="an image's name", pattern=IMAGE_REFERENCE)
]
GitUrl = Annotated[str, Text(check_git_url, expects="the URL of a git repository", hidden=True)]
Argv = tuple[Argument, ...]
Raw = Annotated[str, RawText()]
"""Text exactly as written, though it may look like a number, true or false."""
Switch = Annotated[bool, Flag()]
