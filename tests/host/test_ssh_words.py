"""What ssh says, in our words. Pure; `test_remote` hears it from a real one."""

import pytest

from reconciler.host.access import Access
from reconciler.host.ssh_words import explain_socket, explain_ssh

WEB = Access("ssh://deploy@web1:2222")
WITH_KEYS = Access("ssh://deploy@web1", ssh_key="k", known_hosts="h")


@pytest.mark.parametrize(
    ("said", "access", "reason", "todo"),
    [
        (
            "ssh: Could not resolve hostname web1: Name or service not known",
            WEB,
            "ssh couldn't connect: Name or service not known",
            "Check the host's name",
        ),
        (
            "ssh: connect to host web1 port 22: Connection timed out",
            WEB,
            "ssh couldn't connect: Connection timed out",
            "that sshd does",
        ),
        ("Timeout, server web1 not responding.", WEB, "went silent", "network"),
        ("deploy@web1: Permission denied (publickey).", WEB, "ssh's own keys", "Give `ssh_key`"),
        (
            "deploy@web1: Permission denied (publickey).",
            WITH_KEYS,
            "refuses deploy with the key of `ssh_key`",
            "authorized_keys",
        ),
        ("Host key verification failed.", WEB, "isn't known", "ssh-keyscan -p 2222 web1"),
        ("Host key verification failed.", WITH_KEYS, "isn't known", "the file of `known_hosts`"),
        (
            "/tmp/reconciler-x.link/key: odd thing",
            WITH_KEYS,
            "ssh ended: the key: odd thing",
            "by hand",
        ),
        ("", WEB, "ssh was ended", ""),
    ],
)
def test_ssh_words(said: str, access: Access, reason: str, todo: str) -> None:
    found = explain_ssh([said], access)
    assert reason in found.reason
    assert todo in found.todo


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("missing", "no socket /var/run/docker.sock"),
        ("denied", "deploy may not use"),
        ("refused", "nobody answers"),
        ("administratively prohibited: open failed", "forbids forwarding"),
        ("", "doesn't connect to"),
    ],
)
def test_ssh_words_for_a_socket(found: str, reason: str) -> None:
    assert reason in explain_socket(found, WEB).reason
