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
    """Replaces every secret that it has heard of, and credentials in URLs, by `*****`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: str) -> None:
        """Hide `value`, and each line of it, from now on; also as Python and JSON quote them."""
        plain = {part.strip() for part in (value, *value.splitlines())}
        parts = plain | {quote(part)[1:-1] for part in plain for quote in (repr, json.dumps)}
        with self._lock:
            new = {part for part in parts if len(part) >= _SHORTEST} - self._values
            if new:
                self._values |= new
                longest_first = sorted(self._values, key=lambda part: (-len(part), part))
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def hide(self, text: str) -> str:
        """`text` without anything that must not be seen."""
        text = _URL_CREDENTIALS.sub(HIDDEN, text)
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


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
