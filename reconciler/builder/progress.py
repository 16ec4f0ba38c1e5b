"""Reads what `docker build --progress plain` writes: the log for people, and why it failed.

The format is for people and differs between versions; tests hold outputs of the docker CLI 20.10
and of buildx. A step is announced by its title, and each line of it begins with its number:

    #7 [3/4] RUN make
    #7 0.364 cc -c main.c
    #7 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.builder.failure import LINES_KEPT, Failure

_NUMBERED = re.compile(r"#(\d+) (.*)")
_OUTPUT = re.compile(r"\d+\.\d+ (.*)")
_GLUED = re.compile(r"(.+)#(\d+) ((?:DONE|ERROR|CANCELED)\b.*)")
"""How 20.10 ends a step whose output had no newline at its end."""
_EXIT_CODE = re.compile(r"exit code: (\d+)$")
_BORING = ("[internal]", "[auth]", "exporting to", "resolve image config", "building with")
_TOLD = ("CACHED", "CANCELED", "ERROR", "WARN")
_IMAGE = re.compile(
    r"(?:\[internal\] load metadata for"
    r"|(?P<frontend>resolve image config for)"
    r"|\[[^\]]*\d+/\d+\] FROM) (?:docker-image://)?(?P<name>\S+)"
)
_WRAPPINGS = re.compile(
    r"^(?:ERROR|failed to solve(?: with frontend \S+)?|failed to create LLB definition"
    r"|failed to compute cache key|failed to calculate checksum of ref \S+"
    r"|rpc error: code = \w+ desc = .*?(?=failed)): "
)


@dataclass
class _Step:
    title: str
    told: bool = True
    error: str = ""
    output: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))


class BuildLog:
    """Takes each line; what matters goes on to `log`."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._steps: dict[str, _Step] = {}
        self._failed: _Step | None = None
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._repeating = False

    def take(self, line: str) -> None:
        """One line, without its newline."""
        line = line.rstrip()
        if line == "------":  # around the failed step's output, which was told already
            self._repeating = not self._repeating
        elif line and not self._repeating:
            match = _NUMBERED.fullmatch(line)
            if match:
                self._take_numbered(line, *match.groups())
            elif self._failed is None or _unwrap(line) != _unwrap(self._failed.error):
                self._last.append(line)
                self._log(line)

    def _take_numbered(self, line: str, number: str, text: str) -> None:
        step = self._steps.get(number)
        if step is None:
            step = self._steps[number] = _Step(text, told=not text.startswith(_BORING))
            if step.told:
                self._log(line)
            return
        output = _OUTPUT.fullmatch(text)
        if output:
            glued = _GLUED.fullmatch(text)
            if glued and glued[2] == number:
                self._take_numbered(f"#{number} {glued[1]}", number, glued[1])
                self._take_numbered(f"#{number} {glued[3]}", number, glued[3])
                return
            step.output.append(output[1])
        elif text.startswith("ERROR: "):
            self._fail(number, step, text.removeprefix("ERROR: "))
        elif not (text.startswith(_TOLD) and step.told):
            return
        self._log(line)

    def _fail(self, number: str, step: _Step, error: str) -> None:
        step.error = error
        if self._failed is None and not error.endswith("context canceled"):
            self._failed = step
        if not step.told:
            self._log(f"#{number} {step.title}")

    @property
    def message(self) -> str:
        """The error in the builder's last words, or the failed step's, without its wrappings."""
        text = self._failed.error if self._failed else " ".join(self._last)
        if self._failed is None and self._last:
            text = next((line for line in self._last if _WRAPPINGS.match(line)), text)
        return _unwrap(text)

    def failure(self) -> Failure:
        """How the build ended, once it has ended badly."""
        step, message = self._failed, self.message
        if step is None:
            return Failure(message or "the docker CLI ended without a word")
        image = _IMAGE.match(step.title)
        code = _EXIT_CODE.search(message)
        return Failure(
            message,
            step.title,
            int(code[1]) if code else None,
            tuple(step.output),
            _familiar(image["name"]) if image else "",
            bool(image and image["frontend"]),
        )


def _unwrap(text: str) -> str:
    while match := _WRAPPINGS.match(text):
        text = text[match.end() :]
    return text


def _familiar(name: str) -> str:
    """The image's name as people write it in a Dockerfile."""
    return name.removeprefix("docker.io/").removeprefix("library/")
