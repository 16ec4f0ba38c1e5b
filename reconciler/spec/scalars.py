"""Scalars of the spec: names, durations, sizes, ports, volumes, paths, and what they mean.

`seconds`, `size_bytes`, `parse_port` and `parse_volume` turn checked text into values; the
annotated types at the end say what a field accepts.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from reconciler.spec.images import (
    IMAGE_NAME,
    IMAGE_REFERENCE,
    check_image,
    check_reference,
    check_repository,
)
from reconciler.spec.kinds import ListOf, RawText, Real, Text, Whole
from reconciler.spec.messages import near_miss
from reconciler.spec.reading import INVALID, Invalid, Node, Reading
from reconciler.spec.urls import check_git_url

_UNIT = r"\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d)"
_DURATION = re.compile(f"(?:{_UNIT})+")
_DURATION_PART = re.compile(r"([\d.]+)([a-z]+)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 365 * 86400.0
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_LEAST_MEMORY = 6 << 20
_MOST_MEMORY = 1 << 62
_PORT = re.compile(
    r"(?:(?P<address>\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?"
    r"(?P<host>\d{1,5}):(?P<container>\d{1,5})(?:/(?P<protocol>tcp|udp))?"
)
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_OTHERS_HOME = re.compile(r"~[^/:]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def seconds(text: str) -> float:
    """`90s`, `1.5m`, `1h30m`, `250ms` in seconds. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError("expected a duration such as 10s, 5m or 1h30m")
    total = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total > _LONGEST:
        raise ValueError("expected at most 365d")
    return total


def size_bytes(text: str) -> int:
    """`512m`, `1g`, `64KiB` in bytes; units are powers of 1024, as docker's are."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("expected a size such as 512m or 1g")
    return int(float(match[1]) * _BYTES[match[2].lower()])


EVERYWHERE = ("", "0.0.0.0", "[::]")  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Port:
    """A published port; `address` is empty for all addresses of the host."""

    address: str
    host: int
    container: int
    protocol: str

    def clashes(self, other: Port) -> bool:
        """Whether both can't be published on one host at once."""
        addresses = {self.address, other.address}
        same_address = len(addresses) == 1 or not addresses.isdisjoint(EVERYWHERE)
        return (self.host, self.protocol) == (other.host, other.protocol) and same_address


def parse_port(text: str) -> Port:
    """`[address:]host:container[/udp]`. Raises ValueError."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise ValueError("expected [address:]host:container[/udp], such as 127.0.0.1:8080:80")
    host, container = int(match["host"]), int(match["container"])
    if not (0 < host < 65536 and 0 < container < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return Port(_address(match["address"] or ""), host, container, match["protocol"] or "tcp")


def _address(text: str) -> str:
    """The address in its one shortest form."""
    try:
        if text.startswith("["):
            return f"[{IPv6Address(text.strip('[]'))}]"
        return str(IPv4Address(text)) if text else ""
    except ValueError:
        raise ValueError("expected an IPv4 address, or an IPv6 address in brackets") from None


@dataclass(frozen=True, slots=True)
class Volume:
    """A mount. `source` is a volume's name, or a path for a bind mount."""

    source: str
    target: str
    read_only: bool

    @property
    def is_bind(self) -> bool:
        return self.source.startswith(("/", "./", "../", "~")) or self.source in (".", "..")


def parse_volume(text: str) -> Volume:
    """`name:/path[:ro]`, `./directory:/path`, `/directory:/path`. Raises ValueError."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or mode not in ("ro", "rw") or not parts[1].startswith("/"):
        raise ValueError("expected name:/path or ./directory:/path, with :ro for read-only")
    if _CONTROL.search(text):
        raise ValueError("a mount has no control characters")
    if not parts[1].strip("/") or ".." in parts[1].split("/"):
        raise ValueError("expected a path inside the container, not / and without ..")
    volume = Volume(parts[0], parts[1], mode == "ro")
    if _OTHERS_HOME.match(text):
        raise ValueError("expected ~/… or the full path of the directory")
    if not volume.is_bind and not _VOLUME_NAME.fullmatch(volume.source):
        raise ValueError(
            "a volume's name has two or more letters, digits, dots, dashes; "
            "a directory begins with ./ or /"
        )
    return volume


def _duration(text: str) -> str:
    if seconds(text) <= 0:
        raise ValueError("expected a duration above zero")
    return text


def _grace(text: str) -> str:
    seconds(text)
    return text


def _memory(text: str) -> str:
    number = size_bytes(text)
    if number < _LEAST_MEMORY:
        raise ValueError("docker needs at least 6m")
    if number > _MOST_MEMORY:
        raise ValueError("expected a size below 4194304t")
    return text


def _port(text: str) -> str:
    parse_port(text)
    return text


def _volume(text: str) -> str:
    parse_volume(text)
    return text


def _relative(path: str) -> str:
    if not path or path.startswith(("/", "~")) or ".." in path.split("/") or "\\" in path:
        raise ValueError("expected a path inside, without .. and not absolute")
    if _CONTROL.search(path):
        raise ValueError("a path has no control characters")
    return os.path.normpath(path)


def _host_path(path: str) -> str:
    if not path or _CONTROL.search(path):
        raise ValueError("expected a path, without control characters")
    if _OTHERS_HOME.match(path):
        raise ValueError("expected ~/… or the full path")
    return path


def matching(pattern: str, sentence: str) -> Callable[[str], str]:
    """A check that `pattern` matches the whole text; `sentence` is the error's."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(sentence)
        return text

    return check


def _like(pattern: str, sentence: str, plural: str = "text", *, hidden: bool = False) -> Text:
    whole = f"^(?:{pattern})$"
    return Text("text", matching(pattern, sentence), pattern=whole, plural=plural, hidden=hidden)


_RESTARTS = ("no", "always", "unless-stopped", "on-failure")
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(?::[1-9][0-9]{0,5})?")


def _restart(text: str) -> str:
    if not _RESTART.fullmatch(text):
        sentence = "expected no, always, unless-stopped or on-failure[:times]"
        raise ValueError(sentence, near_miss(text[:40], _RESTARTS))
    return text


class HostPath(Text):
    """A path on the machine that runs reconcile, relative to the file that names it.

    A default may stand in another directory than the app that it applies to: its path is
    rewritten to start from the app's.
    """

    def read(self, node: Node, at: str, to: Reading) -> str | Invalid:
        text = super().read(node, at, to)
        mark = node.start_mark
        if text is INVALID or mark is None or mark.name == to.file or not to.file:
            return text
        way = os.path.relpath(os.path.dirname(mark.name) or ".", os.path.dirname(to.file) or ".")  # noqa: PTH120
        return text if way == "." else self.move(str(text), way)

    def move(self, text: str, way: str) -> str:
        """`text` as seen from where `way` leads to its start."""
        return text if text.startswith(("/", "~")) else os.path.normpath(os.path.join(way, text))  # noqa: PTH118


class Mount(HostPath):
    """A volume; of a bind mount the directory is a path on this machine."""

    def move(self, text: str, way: str) -> str:
        source, colon, target = text.partition(":")
        if not parse_volume(text).is_bind:
            return text
        return super().move(source, way) + colon + target


def _label_key(text: str) -> str:
    if not text or _CONTROL.search(text):
        raise ValueError("a label's name is text of one line that isn't empty")
    if text.partition(".")[0] == "reconciler":
        raise ValueError("labels that begin with 'reconciler.' are this program's own")
    return text


_RELATIVE = r"^(?![/~])(?!(?:.*/)?\.\.(?:/|$))[^\\]+$"
_ARGUMENT = Text(hidden=True)

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
EnvName = Annotated[
    str,
    _like(
        "[^=\\x00-\\x1f\\x7f]+",
        "expected a variable's name, not empty and without '='",
        hidden=True,
    ),
]
LabelKey = Annotated[
    str, Text("text", _label_key, pattern=r"^(?!reconciler(?:\.|$))[^\x00-\x1f\x7f]+$")
]
SecretId = Annotated[
    str,
    _like("[a-zA-Z0-9][a-zA-Z0-9_.-]*", "expected a secret's id of letters, digits, '-', '_', '.'"),
]
Line = Annotated[str, _like(r"[^\x00-\x1f\x7f]+", "expected text of one line that isn't empty")]
UserName = Annotated[
    str,
    Text("text", matching(r"[^:\x00-\x1f\x7f]+", "expected a user name without ':'"), hidden=True),
]
User = Annotated[str, _like(r"[^\s:-][^\s:]*(?::[^\s:]+)?", "expected user, uid, or uid:gid")]
Stage = Annotated[str, _like(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", "expected the name of a stage")]
AbsolutePath = Annotated[str, _like(r"/[^\x00-\x1f\x7f]*", "expected a path that begins with /")]
RelativePath = Annotated[str, Text("a path", _relative, pattern=_RELATIVE, plural="paths")]
FilePath = Annotated[
    str, HostPath("a path", _host_path, pattern="^[^\\x00-\\x1f\\x7f]+$", hidden=True)
]
HealthPath = Annotated[
    str, _like(r"/[!-~]*", "expected a path that begins with / and has no spaces")
]
Duration = Annotated[
    str, Text("a duration such as 10s, 5m or 1h30m", _duration, pattern=f"^(?:{_UNIT})+$")
]
Grace = Annotated[
    str, Text("a duration such as 10s, 5m or 1h30m", _grace, pattern=f"^(?:{_UNIT})+$")
]
Memory = Annotated[
    str,
    Text(
        "a size such as 512m or 1g",
        _memory,
        pattern=r"^\d{1,15}(?:\.\d{1,9})?\s*[kKmMgGtT]?(?:[iI]?[bB])?$",
    ),
]
PortNumber = Annotated[int, Whole(1, 65535, expects="a port's number")]
Count = Annotated[int, Whole(1, 1_000_000)]
Concurrency = Annotated[int, Whole(1, 64)]
Replicas = Annotated[int, Whole(1, 1, too_high="more than one replica isn't possible yet; write 1")]
Cores = Annotated[float, Real(0.01, 10_000)]
PortMapping = Annotated[
    str,
    Text(
        "[address:]host:container[/udp], such as 127.0.0.1:8080:80",
        _port,
        pattern=r"^(?:(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?"
        r"\d{1,5}:\d{1,5}(?:/(?:tcp|udp))?$",
        plural="ports",
    ),
]
VolumeMapping = Annotated[
    str,
    Mount(
        "name:/path or ./directory:/path",
        _volume,
        pattern=r"^[^:]+:/[^:]+(?::(?:ro|rw))?$",
        plural="mounts",
    ),
]
RestartPolicy = Annotated[
    str,
    Text("text", _restart, pattern=r"^(?:no|always|unless-stopped|on-failure(?::[1-9]\d{0,5})?)$"),
]
ImageName = Annotated[str, Text("an image's name", check_image, pattern=IMAGE_NAME)]
Repository = Annotated[str, Text("a repository's name", check_repository, pattern=IMAGE_NAME)]
ImageReference = Annotated[str, Text("an image's name", check_reference, pattern=IMAGE_REFERENCE)]
GitUrl = Annotated[str, Text("the URL of a git repository", check_git_url, hidden=True)]
Argv = Annotated[tuple[str, ...], ListOf(_ARGUMENT)]
Command = Annotated[tuple[str, ...], ListOf(_ARGUMENT, least=1)]
Raw = Annotated[str, RawText()]
"""Text exactly as written, though it may look like a number, true or false."""
