"""Names of images: what a registry and an engine accept, with sentences for what they don't."""

from __future__ import annotations

import re

_DOMAIN = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = f"(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
IMAGE_NAME = f"^{_NAME}$"
IMAGE_REFERENCE = f"^{_NAME}(?::{_TAG})?(?:@{_DIGEST})?$"
_LONGEST = 255


def check_image(text: str) -> str:
    """The name of a ready image, without tag and digest. Raises ValueError."""
    last = text.rpartition("/")[2]
    if "://" not in text and ("@" in last or ":" in last):
        word = "digest" if "@" in last else "tag"
        raise ValueError(f"expected an image's name without {word}; give it as 'revision'")
    return check_repository(text)


def check_repository(text: str) -> str:
    """A repository's name without tag and digest. Raises ValueError."""
    if "://" in text:
        raise ValueError("expected an image's name without a scheme such as https://")
    head, _, last = text.rpartition("/")
    if "@" in last or ":" in last:
        raise ValueError("expected an image's name without tag and digest")
    if len(text) > _LONGEST or not re.match(IMAGE_NAME, text):
        lower = last != last.lower() or head.partition("/")[2] != head.partition("/")[2].lower()
        raise ValueError(
            "an image's name is in lower case"
            if lower
            else "expected an image's name such as ghcr.io/shop/api"
        )
    return text


def check_reference(text: str) -> str:
    """An image with an optional tag and digest. Raises ValueError."""
    if len(text) > _LONGEST + 200 or not re.match(IMAGE_REFERENCE, text):
        raise ValueError("expected an image such as busybox:stable or ghcr.io/shop/web:1.4")
    return text


def is_digest(text: str) -> bool:
    """Whether this is a full digest, `sha256:` and 64 hex digits."""
    return re.fullmatch(_DIGEST, text) is not None


def is_tag(text: str) -> bool:
    """Whether a registry would accept this as a tag."""
    return re.fullmatch(_TAG, text) is not None
