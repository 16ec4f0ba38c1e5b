"""Whether this process runs in a container of its own, and in which.

The engine mounts a container's `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` from a
directory that is named like the container, so `/proc/self/mountinfo` (proc(5)) says its id, with
any network and any cgroup version.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

_MOUNT = re.compile(
    r" /\S*/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)"
    r" /etc/(?:hostname|hosts|resolv\.conf) "
)


@functools.cache
def own_container() -> str:
    """The id of the container that this process runs in; empty outside of one."""
    try:
        return parse_own_container(Path("/proc/self/mountinfo").read_text())
    except OSError:
        return ""


def parse_own_container(mounts: str) -> str:
    """From the text of `mountinfo`. Pure."""
    found = _MOUNT.search(mounts)
    return found[1] if found else ""
