"""Listening sockets from the kernel's tables `/proc/net/tcp` and `tcp6` (proc_net_tcp). Pure."""

from __future__ import annotations

PROC_FILES = ("net/tcp", "net/tcp6")
_LISTEN = "0A"
_ENGINE_DNS = "127.0.0.11"
"""The engine's own name server, which listens inside of every container on a user's network."""


def parse_listening(text: str) -> tuple[tuple[str, int], ...]:
    """`(address, port)` of every listening socket, sorted by port, each once."""
    found = set()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:  # sl, local address, remote address, state
            address, _, port = fields[1].partition(":")
            found.add((_address(address), int(port, 16)))
    return tuple(sorted((s for s in found if s[0] != _ENGINE_DNS), key=lambda s: (s[1], s[0])))


def _address(digits: str) -> str:
    """Hex digits of 32-bit words, each in the order of a little-endian host."""
    import ipaddress

    raw = bytes.fromhex(digits)
    words = (raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def is_loopback(address: str) -> bool:
    """Whether only processes inside of the container reach it."""
    import ipaddress

    return ipaddress.ip_address(address).is_loopback
