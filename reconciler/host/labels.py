"""The names that tie containers and images to apps. Containers and images have different ones:

a container inherits the labels of its image, so an image that carried `reconciler.app` would
make everything that somebody starts from it by hand look like this program's own.
"""

from __future__ import annotations

LABEL = "reconciler"
LABEL_PROJECT = f"{LABEL}.project"
LABEL_HOST = f"{LABEL}.host"
"""The name of the host that it was made for; not written on the local one."""
LABEL_APP = f"{LABEL}.app"
LABEL_DEPLOYMENT = f"{LABEL}.deployment"
LABEL_BUILD_HASH = f"{LABEL}.build-hash"
LABEL_RUN_HASH = f"{LABEL}.run-hash"
LABEL_TASK = f"{LABEL}.task"
"""The name of a one-off task; what carries it never serves."""
LABEL_REPLICA = f"{LABEL}.replica"
"""Which of an app's containers it is, from 1 (not written)."""
LABEL_REVISION = f"{LABEL}.revision"

LABEL_PROXY = f"{LABEL}.proxy"
"""On a proxy's container, with its project; it has no `LABEL_APP`, so nothing takes it for one."""

IMAGE_LABEL_PROJECT = f"{LABEL}.image.project"
IMAGE_LABEL_APP = f"{LABEL}.image.app"
IMAGE_LABEL_BUILD_HASH = f"{LABEL}.image.build-hash"


def short_id(identity: str) -> str:
    """The first 12 digits of a commit, `tree:…`, `sha256:…` or `v1:…`; empty for empty."""
    return identity.rpartition(":")[2][:12]
