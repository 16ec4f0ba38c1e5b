"""Which container this process runs in, as the kernel's list of mounts says it."""

from __future__ import annotations

import pytest

from reconciler.host.container import parse_own_container

ID = "3f" * 32
ROOT = "701 700 0:51 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A\n"


@pytest.mark.parametrize("root", ["/var/lib/docker", "/data/engine", "/x/docker/0.0"])
def test_own_container_of_an_engine_with_any_root(root: str) -> None:
    line = f"712 701 8:1 {root}/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    assert parse_own_container(ROOT + line) == ID


@pytest.mark.parametrize(
    "line",
    [
        f"90 27 0:40 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n",
        f"90 27 0:40 /containers/{ID}/hostname /mnt/hostname rw - ext4 /dev/sda1 rw\n",
        "90 27 0:40 /lib/containers/storage/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n",
    ],
    ids=["host", "mounted-elsewhere", "no-id"],
)
def test_own_container_outside_of_one(line: str) -> None:
    assert parse_own_container(ROOT + line) == ""
