"""Values that the spec only refers to: `{env: NAME}` and `{file: PATH}`.

They are read when they are needed and live in memory alone. Whatever was read is known to the
`Redactor`, which hides it in every line that leaves: logs, errors, answers.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from reconciler.errors import SecretError
from reconciler.spec.models import EnvRef, FileRef
from reconciler.values import frozen

HIDDEN = "*****"
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SHORTEST = 4
"""Shorter values are not hidden in texts: they would hide every other word as well."""


class Redactor:
    """Replaces every secret that it has heard of, and credentials in URLs, by `*****`.

    What that costs doesn't grow with the number of secrets: there may be thousands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: set[str] = set()
        self._hidden: set[str] = set()
        self._lengths: dict[str, tuple[int, ...]] = {}
        """Of all that begins with these characters, the longest first."""

    def learn(self, value: str) -> None:
        """Hide `value`, and each line of it, from now on; also as Python and JSON quote them."""
        if value in self._heard:
            return
        plain = {part.strip() for part in (value, *value.splitlines())}
        parts = plain | {quote(part)[1:-1] for part in plain for quote in (repr, json.dumps)}
        with self._lock:
            for part in parts:
                if len(part) >= _SHORTEST:
                    self._hidden.add(part)
                    lengths = {len(part), *self._lengths.get(part[:_SHORTEST], ())}
                    self._lengths[part[:_SHORTEST]] = tuple(sorted(lengths, reverse=True))
            self._heard.add(value)

    def hide(self, text: str) -> str:
        """`text` without anything that must not be seen."""
        text = _URL_CREDENTIALS.sub(HIDDEN, text)
        return self._hide_heard(text) if self._hidden else text

    def _hide_heard(self, text: str) -> str:
        """At each place the longest that begins there."""
        starts = self._lengths
        places = range(len(text) - _SHORTEST + 1)
        shown, end = [], 0
        for at in [one for one in places if text[one : one + _SHORTEST] in starts]:
            lengths = starts[text[at : at + _SHORTEST]] if at >= end else ()
            length = next((one for one in lengths if text[at : at + one] in self._hidden), 0)
            if length:
                shown += [text[end:at], HIDDEN]
                end = at + length
        return "".join([*shown, text[end:]])


@frozen
class Secrets:
    """Reads references. `base_dir` is the directory of `apps.yaml`, for relative paths."""

    base_dir: Path
    redactor: Redactor = field(default_factory=Redactor)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read(self, ref: EnvRef | FileRef, *, app: str, what: str) -> str:
        """The value. `what` says in an error what it is for, e.g. `env.DATABASE_URL`.

        A file's one trailing newline is dropped, as editors and `echo` add it.
        Raises `SecretError` when it isn't there, can't be read, or isn't text.
        """
        value = self._env(ref, app, what) if isinstance(ref, EnvRef) else self._file(ref, app, what)
        self.redactor.learn(value)
        return value

    def _env(self, ref: EnvRef, app: str, what: str) -> str:
        value = self.environ.get(ref.env)
        if value is None:
            raise SecretError(
                f"{what} refers to the environment variable {ref.env}, which isn't set",
                app=app,
                todo=f"Set {ref.env} for the process that runs reconcile.",
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise SecretError(
                f"{what} refers to the environment variable {ref.env}, which isn't UTF-8 text",
                app=app,
                todo=f"Set {ref.env} to text, or to an encoding such as base64.",
            ) from None
        return value

    def _file(self, ref: FileRef, app: str, what: str) -> str:
        path = self.base_dir / Path(ref.file).expanduser()
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SecretError(
                f"{what} refers to the file {ref.file}, which can't be read: {reason}",
                app=app,
                todo=f"Create {path} or correct the path.",
            ) from None
        return text.removesuffix("\n").removesuffix("\r")
