"""Scalars of the spec: names, durations, sizes, ports, volumes, and what they mean as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PORT = re.compile(
    r"(?:(?P<address>\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?"
    r"(?P<host>\d{1,5}):(?P<container>\d{1,5})(?:/(?P<protocol>tcp|udp))?"
)


def seconds(text: str) -> float:
    """`90s`, `1.5m`, `1h30m`, `250ms` in seconds. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("expected a duration such as 10s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size_bytes(text: str) -> int:
    """`512m`, `1g`, `64KiB` in bytes; units are powers of 1024, as docker's are."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("expected a size such as 512m or 1g")
    return int(float(match[1]) * _BYTES[match[2].lower()])


@dataclass(frozen=True, slots=True)
class Port:
    """A published port; `address` is empty for all addresses of the host."""

    address: str
    host: int
    container: int
    protocol: str

    def clashes(self, other: Port) -> bool:
        """Whether both can't be published on one host at once."""
        everywhere = {"", "0.0.0.0", "[::]"}  # noqa: S104 - compared, not bound
        same_address = self.address == other.address or bool(
            {self.address, other.address} & everywhere
        )
        return (self.host, self.protocol) == (other.host, other.protocol) and same_address


def parse_port(text: str) -> Port:
    """`[address:]host:container[/udp]`. Raises ValueError."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise ValueError("expected [address:]host:container[/udp], such as 127.0.0.1:8080:80")
    host, container = int(match["host"]), int(match["container"])
    if not (0 < host < 65536 and 0 < container < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return Port(match["address"] or "", host, container, match["protocol"] or "tcp")


@dataclass(frozen=True, slots=True)
class Volume:
    """A mount. `source` is a volume's name, or a path for a bind mount."""

    source: str
    target: str
    read_only: bool

    @property
    def is_bind(self) -> bool:
        return self.source.startswith(("/", "./", "../", "~"))


def parse_volume(text: str) -> Volume:
    """`name:/path[:ro]`, `./directory:/path`, `/directory:/path`. Raises ValueError."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or mode not in ("ro", "rw") or not parts[1].startswith("/"):
        raise ValueError("expected name:/path or ./directory:/path, with :ro for read-only")
    volume = Volume(parts[0], parts[1], mode == "ro")
    if not volume.is_bind and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", volume.source):
        raise ValueError("a volume's name has two or more letters, digits, dots, dashes")
    return volume


def _relative(path: str) -> str:
    if path.startswith(("/", "~")) or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError("expected a path inside, without ..")
    return path.strip("/").removeprefix("./") or "."


def _checked(parse: object, text: str) -> str:
    parse(text)  # type: ignore[operator]
    return text


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=63)]
Duration = Annotated[str, AfterValidator(lambda text: _checked(seconds, text))]
Size = Annotated[str, AfterValidator(lambda text: _checked(size_bytes, text))]
PortMapping = Annotated[str, AfterValidator(lambda text: _checked(parse_port, text))]
VolumeMapping = Annotated[str, AfterValidator(lambda text: _checked(parse_volume, text))]
RelativePath = Annotated[str, Field(min_length=1), AfterValidator(_relative)]
HealthPath = Annotated[str, Field(pattern=r"^/\S*$")]
ImageName = Annotated[
    str,
    Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/\[\]-]*$", max_length=255),
]
RestartPolicy = Annotated[
    str, Field(pattern=r"^(no|always|unless-stopped|on-failure(:[1-9][0-9]*)?)$")
]
