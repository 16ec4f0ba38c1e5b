"""What ssh says on its stderr, in words for people: the reason, and what to do now. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from reconciler.host.access import Access
from reconciler.host.ways import Unreachable

OPEN_FAILED = re.compile(r"^channel \d+: open failed: (.*)")
"""A connection that the host didn't open, while ssh itself goes on."""

_SHOWN = re.compile(r"\S*/reconciler-\S*\.link/(?:key|known_hosts)")

Explain = Callable[[re.Match[str], Access], Unreachable]


def explain_ssh(said: Sequence[str], access: Access) -> Unreachable:
    """Why ssh ended."""
    lines = [_SHOWN.sub("the key", line) for line in said if line]
    text = "\n".join(lines)
    for words, explain in _REASONS:
        if found := words.search(text):
            return explain(found, access)
    if not lines:
        return Unreachable("ssh was ended")
    return Unreachable(f"ssh ended: {lines[-1]}", "Try `ssh` by hand as the same user.")


def explain_socket(found: str, access: Access) -> Unreachable:
    """Why the host doesn't connect to its engine's socket; `found` is what its shell saw."""
    path, user = access.socket_path, access.user or "the user"
    if found == "missing":
        return Unreachable(
            f"there is no socket {path} on the host",
            "Install Docker there and start it, or put its socket's path behind the host.",
        )
    if found == "denied":
        return Unreachable(
            f"{user} may not use the socket {path} on the host",
            f"Add {user} to its group there: `sudo usermod -aG docker {access.user or 'USER'}`.",
        )
    if "prohibited" in found:
        return Unreachable(
            "its sshd forbids forwarding",
            "Allow it in sshd_config: `AllowStreamLocalForwarding yes`.",
        )
    if found == "refused":
        return Unreachable(
            f"nobody answers at the socket {path} on the host",
            "Start Docker there.",
        )
    return Unreachable(
        f"the host doesn't connect to {path}",
        f"Check there that Docker runs, that {user} is in the group docker, and that sshd allows "
        "it: `AllowStreamLocalForwarding yes`.",
    )


def _place(access: Access) -> str:
    return f"-p {access.port} {access.hostname}" if access.port else access.hostname


def _store(access: Access) -> str:
    if access.known_hosts:
        return "the file of `known_hosts`"
    return "~/.ssh/known_hosts of the user that runs reconcile"


def _unknown(_: re.Match[str], access: Access) -> Unreachable:
    return Unreachable(
        "its host key isn't known",
        f"Compare the fingerprint of `ssh-keyscan {_place(access)} | ssh-keygen -lf -` with what "
        "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host, then add the "
        f"lines of ssh-keyscan to {_store(access)}.",
    )


def _changed(said: re.Match[str], access: Access) -> Unreachable:
    found = re.search(r"SHA256:[\w+/]+", said.string)
    now = f": it is {found[0]} now" if found else ""
    return Unreachable(
        f"its host key isn't the one that is known{now}",
        "Somebody may be in between. When the host was set up anew, compare the fingerprint with "
        "what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there, and replace its "
        f"lines in {_store(access)}.",
    )


def _denied(said: re.Match[str], access: Access) -> Unreachable:
    user = access.user or "the user"
    if not access.ssh_key:
        return Unreachable(
            f"it refuses {user} with ssh's own keys",
            "Give `ssh_key`, or a key in ~/.ssh or in the agent of the user that runs reconcile; "
            "its public half belongs into ~/.ssh/authorized_keys on the host.",
        )
    if "Load key" in said.string:
        return Unreachable(
            "`ssh_key` isn't a private key that ssh can read without a passphrase",
            "Give a key made with `ssh-keygen -t ed25519 -N ''`.",
        )
    return Unreachable(
        f"it refuses {user} with the key of `ssh_key`",
        "Add the key's public half to ~/.ssh/authorized_keys on the host; a key with a passphrase "
        "can't be used.",
    )


def _unreached(said: re.Match[str], _: Access) -> Unreachable:
    return Unreachable(
        f"ssh couldn't connect: {said['why'].strip()}",
        "Check the host's name and port, that it runs, and that sshd does.",
    )


def _silent(_: re.Match[str], __: Access) -> Unreachable:
    return Unreachable("the host went silent, and ssh gave up", "Check the host's network.")


_REASONS: tuple[tuple[re.Pattern[str], Explain], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), explain)
    for pattern, explain in (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED", _changed),
        ("host key is known for|Host key verification failed", _unknown),
        ("Permission denied|Too many authentication failures", _denied),
        (
            r"(?:connect to host .* port \d+|Could not resolve hostname .*?): (?P<why>.+)$",
            _unreached,
        ),
        ("^Timeout, server .* not responding|^Timeout before", _silent),
    )
)
