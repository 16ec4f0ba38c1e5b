"""What a built image is named and labelled by, so that people and this program find it again."""

from __future__ import annotations

import re
from typing import Protocol

from reconciler.host.labels import (
    IMAGE_LABEL_APP,
    IMAGE_LABEL_BUILD_HASH,
    IMAGE_LABEL_PROJECT,
    short_id,
)
from reconciler.spec.models import GitSource, ImageSource, PathSource

_OCI = "org.opencontainers.image"
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")


class Version(Protocol):
    """A resolved revision: the full `id` of the commit, and the `name` that led there."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


def image_tag(revision_id: str, build_hash: str) -> str:
    """`1a2b3c4d5e6f-0123abcd4567`: the revision's first digits, then the build hash's."""
    return "-".join(part for part in (short_id(revision_id), short_id(build_hash)) if part)


def image_labels(
    app: str, source: GitSource | PathSource | ImageSource, resolved: Version, build_hash: str
) -> dict[str, str]:
    """The OCI annotations (without empty ones), and what `find_built` looks for."""
    project, _, name = app.partition("/")
    labels = {
        f"{_OCI}.title": name,
        f"{_OCI}.revision": resolved.id,
        f"{_OCI}.version": resolved.name,
        f"{_OCI}.source": source_url(source),
        IMAGE_LABEL_PROJECT: project,
        IMAGE_LABEL_APP: app,
        IMAGE_LABEL_BUILD_HASH: build_hash,
    }
    return {name: value for name, value in labels.items() if value}


def source_url(source: GitSource | PathSource | ImageSource) -> str:
    """Where the source is, without credentials; empty when that means nothing elsewhere."""
    if not isinstance(source, GitSource):
        return ""
    return _URL_CREDENTIALS.sub("", source.git)
