"""Text of KEY=VALUE lines, as dotenv readers take it (python-dotenv's parser), and back.

No `$` is expanded. A line that isn't understood is an error rather than passed over, as the
environment would lose a variable.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from reconciler.errors import UsageError

_NEEDS_QUOTES = re.compile(r"['\"]|\s|.*\s\Z|.*[\r\n]|.*\s#", re.DOTALL)
_PLAIN_KEY = re.compile(r"[^=#\s'][^=#\s]*")


def parse(text: str) -> dict[str, str]:
    """The variables; of a name that is there twice, the last.

    Raises `UsageError` with the number of the first line that isn't KEY=VALUE, and never with
    what stands in it.
    """
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text.removeprefix("\ufeff"), newline="")):
        if binding.error or (binding.key and binding.value is None):
            raise _not_understood(binding.original.string, binding.original.line)
        if binding.key and binding.value is not None:
            found[binding.key] = binding.value
    return found


def _not_understood(written: str, line: int) -> UsageError:
    blank = written[: len(written) - len(written.lstrip())]
    line += len(re.findall(r"\r\n|\n|\r", blank))
    return UsageError(
        f"line {line} of the environment's text isn't KEY=VALUE",
        todo="Write one variable on each line, with quotes around text of several lines.",
    )


def render(variables: Mapping[str, str]) -> str:
    """Lines that `parse` reads as these variables. All names have to be `has_line`."""
    return "".join(f"{_render_key(name)}={_quote(value)}\n" for name, value in variables.items())


def has_line(name: str) -> bool:
    """Whether there is a line for this name: a blank and an apostrophe don't go together."""
    return "'" not in name or _PLAIN_KEY.fullmatch(name) is not None


def _render_key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else f"'{name}'"


def _quote(value: str) -> str:
    if not _NEEDS_QUOTES.match(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
