"""What scalars of the spec mean: durations, sizes, ports and mounts, from text to values."""

from __future__ import annotations

import re

from reconciler.values import frozen

DURATION_UNIT = r"\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d)"
_DURATION = f"(?:{DURATION_UNIT})+"
_DURATION_PART = r"([\d.]+)([a-z]+)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 365 * 86400.0
_PERCENT = r"\d{1,3}(?:\.\d{1,3})?%"
_SIZE = r"(?i)(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?"
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PORT = (
    r"(?:(?P<address>\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?"
    r"(?P<host>\d{1,5}):(?P<container>\d{1,5})(?:/(?P<protocol>tcp|udp))?"
)
_VOLUME_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]+"
OTHERS_HOME = r"~[^/:]"
CONTROL = r"[\x00-\x1f\x7f]"


def seconds(text: str) -> float:
    """`90s`, `1.5m`, `1h30m`, `250ms` in seconds. Raises ValueError."""
    if not re.fullmatch(_DURATION, text):
        raise ValueError("expected a duration such as 10s, 5m or 1h30m")
    total = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_DURATION_PART, text))
    if total > _LONGEST:
        raise ValueError("expected at most 365d")
    return total


def share(text: str) -> float:
    """`5%` as 0.05. Raises ValueError."""
    if not re.fullmatch(_PERCENT, text) or float(text[:-1]) > 100:
        raise ValueError("expected a share from 0% to 100%, such as 5%")
    return float(text[:-1]) / 100


def size_bytes(text: str) -> int:
    """`512m`, `1g`, `64KiB` in bytes; units are powers of 1024, as docker's are."""
    match = re.fullmatch(_SIZE, text)
    if match is None:
        raise ValueError("expected a size such as 512m or 1g")
    return int(float(match[1]) * _BYTES[match[2].lower()])


EVERYWHERE = ("", "0.0.0.0", "[::]")  # noqa: S104 - compared, not bound


@frozen
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
    match = re.fullmatch(_PORT, text)
    if match is None:
        raise ValueError("expected [address:]host:container[/udp], such as 127.0.0.1:8080:80")
    host, container = int(match["host"]), int(match["container"])
    if not (0 < host < 65536 and 0 < container < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return Port(_address(match["address"] or ""), host, container, match["protocol"] or "tcp")


def _address(text: str) -> str:
    """The address in its one shortest form."""
    if not text:
        return ""
    from ipaddress import IPv4Address, IPv6Address

    try:
        if text.startswith("["):
            return f"[{IPv6Address(text.strip('[]'))}]"
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError("expected an IPv4 address, or an IPv6 address in brackets") from None


@frozen
class Volume:
    """A mount. `source` is a volume's name, or a path for a bind mount."""

    source: str
    target: str
    read_only: bool

    @property
    def is_bind(self) -> bool:
        return self.source.startswith("/") or self.is_here

    @property
    def is_here(self) -> bool:
        """Whether it is a directory as seen from the file that names it."""
        return self.source.startswith(("./", "../", "~")) or self.source in (".", "..")


def parse_volume(text: str) -> Volume:
    """`name:/path[:ro]`, `./directory:/path`, `/directory:/path`. Raises ValueError."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or mode not in ("ro", "rw") or not parts[1].startswith("/"):
        raise ValueError("expected name:/path or ./directory:/path, with :ro for read-only")
    if re.search(CONTROL, text):
        raise ValueError("a mount has no control characters")
    if not parts[1].strip("/") or ".." in parts[1].split("/"):
        raise ValueError("expected a path inside the container, not / and without ..")
    volume = Volume(parts[0], parts[1], mode == "ro")
    if re.match(OTHERS_HOME, text):
        raise ValueError("expected ~/… or the full path of the directory")
    if not volume.is_bind and not re.fullmatch(_VOLUME_NAME, volume.source):
        raise ValueError(
            "a volume's name has two or more letters, digits, dots, dashes; "
            "a directory begins with ./ or /"
        )
    return volume
