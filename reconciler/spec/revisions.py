"""What a revision may be: a plain name (branch, tag, commit, digest) or a semver range.

A range begins with one of < > = ^ ~, or has a space, `||`, `*` or an x in the place of a number.
Ranges are those of npm: `>=1.4 <2`, `^1.4`, `~1.4.2`, `1.x`, `1.2 - 1.4`, `^1 || ^2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reconciler.values import frozen

_RANGE = r"(?s)[<>=^~].*|.*(?:\s|\|\||\*).*|v?\d+(?:\.\d+)?\.[xX](?:\.[xX])?"
_VERSION = r"(?s)v?(\d+\.\d+)(\.\d+)?([-+].*)?"
_BAD_REF = r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|/\.|^[./-]|[./]$|^@$"


@frozen
class Range:
    """A semver range that parsed. `text` is as the user wrote it."""

    text: str
    _spec: Any

    def best(self, names: Iterable[str]) -> str | None:
        """The name with the highest version in this range, None when there is none.

        A version is x.y.z or x.y, with or without a leading v. Prereleases count only when the
        range names one of the same version. Of equal versions the more precise name wins.
        """
        found = [(version, name) for name in names if (version := _version(name)) is not None]
        fits = [(version, len(name), name) for version, name in found if version in self._spec]
        return max(fits, default=(None, 0, None))[2]


def parse_range(text: str) -> Range | None:
    """The range that `text` means, None when it is a plain name.

    Raises ValueError when it looks like a range and isn't one.
    """
    if not re.fullmatch(_RANGE, text):
        return None
    from semantic_version import NpmSpec

    try:
        return Range(text, NpmSpec(text.strip()))
    except (ValueError, AttributeError):  # the latter is the library's own, for ">=< - 1"
        hint = "separate conditions by a space" if "," in text else ""
        raise ValueError(
            'neither a plain name nor a semver range such as ">=1.4 <2"', hint
        ) from None


def _version(name: str) -> Any:
    match = re.fullmatch(_VERSION, name)
    if not match:
        return None
    from semantic_version import Version

    try:
        return Version(f"{match[1]}{match[2] or '.0'}{match[3] or ''}")
    except ValueError:
        return None


def check_ref(text: str) -> str:
    """A plain name of a git branch, tag or commit. Raises ValueError."""
    if len(text) > 255 or re.search(_BAD_REF, text):
        raise ValueError("expected the name of a branch, tag or commit, or a semver range")
    return text
