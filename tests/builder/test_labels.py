"""Names and labels of built images. Pure."""

from dataclasses import dataclass

import pytest

from reconciler.builder.labels import image_labels, image_tag
from reconciler.spec.models import GitSource, ImageSource, PathSource

COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
BUILD_HASH = "v1:0123abcd4567890123abcd4567890123"


@dataclass(frozen=True)
class Found:
    id: str
    name: str


@pytest.mark.parametrize(
    ("revision", "tag"),
    [
        (COMMIT, "1a2b3c4d5e6f-0123abcd4567"),
        (f"tree:{COMMIT}", "1a2b3c4d5e6f-0123abcd4567"),
        ("", "0123abcd4567"),
    ],
)
def test_image_tag(revision: str, tag: str) -> None:
    assert image_tag(revision, BUILD_HASH) == tag


def test_image_labels() -> None:
    source = GitSource(git="https://git.example.com/shop/api.git")
    assert image_labels("shop/api", source, Found(COMMIT, "v1.2.3"), BUILD_HASH) == {
        "org.opencontainers.image.title": "api",
        "org.opencontainers.image.revision": COMMIT,
        "org.opencontainers.image.version": "v1.2.3",
        "org.opencontainers.image.source": "https://git.example.com/shop/api.git",
        "reconciler.image.project": "shop",
        "reconciler.image.app": "shop/api",
        "reconciler.image.build-hash": BUILD_HASH,
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:token@git.example.com/a.git", "https://git.example.com/a.git"),
        ("git@git.example.com:a.git", "git@git.example.com:a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_image_labels_source_without_credentials(url: str, shown: str) -> None:
    labels = image_labels("shop/api", GitSource(git=url), Found(COMMIT, "main"), BUILD_HASH)
    assert labels["org.opencontainers.image.source"] == shown


def test_image_labels_without_a_source_that_others_can_reach() -> None:
    for source in (PathSource(path="./api"), ImageSource(image="shop/api")):
        labels = image_labels("shop/api", source, Found(COMMIT, ""), BUILD_HASH)
        assert "org.opencontainers.image.source" not in labels
        assert "org.opencontainers.image.version" not in labels


def test_image_labels_are_not_a_containers() -> None:
    """A container inherits them, and must not look like an app's because of that."""
    from reconciler.host import labels

    containers = {value for name, value in vars(labels).items() if name.startswith("LABEL_")}
    made = image_labels("a/b", PathSource(path="."), Found(COMMIT, "main"), BUILD_HASH)
    assert containers
    assert not containers & set(made)
