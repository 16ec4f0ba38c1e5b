"""Ten thousand random edits of a valid spec, against a running daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.daemon.conftest import Yard, write_spec, yard

NAMES = [f"app{number}" for number in range(8)]
EXAMPLES, EDITS = 50, 200

Apps = dict[str, str]


def _cut(text: str, place: float) -> str:
    return text[: int(len(text) * place)]


def _garble(text: str, place: float) -> str:
    at = int(len(text) * place)
    return text[:at] + "\t{:%&" + text[at:]


def _swap(text: str, place: float) -> str:
    """Two lines trade places: apps, fields, or halves of both."""
    lines = text.splitlines(keepends=True)
    one, other = int((len(lines) - 1) * place), int((len(lines) - 1) * (1 - place))
    lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def _drop(text: str, place: float) -> str:
    lines = text.splitlines(keepends=True)
    del lines[int((len(lines) - 1) * place)]
    return "".join(lines)


def _empty(_text: str, _place: float) -> str:
    return ""


def _same(text: str, _place: float) -> str:
    return text


SPOIL: list[Callable[[str, float], str]] = [_cut, _garble, _swap, _drop, _empty, _same]

specs = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["a", "b", "c"]), max_size=8)
edits = st.lists(
    st.tuples(specs, st.sampled_from(SPOIL), st.floats(0, 1, exclude_max=True)),
    min_size=EDITS,
    max_size=EDITS,
)


def _wanted(apps: Apps, shown: Apps) -> bool:
    """Everything that is declared says what it shall; more may be there, within the limit."""
    return apps.items() <= shown.items()


def test_daemon_under_ten_thousand_edits(wait_until: Callable[..., Any]) -> None:
    with yard(write_spec(dict.fromkeys(NAMES, "a")), prune=True) as running:
        wait_until(lambda: len(running.shown()) == len(NAMES))

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(edits, specs.filter(bool))
        def play(edits: list[tuple[Apps, Callable[[str, float], str], float]], last: Apps) -> None:
            for apps, spoil, place in edits:
                running.spec.write_text(spoil(write_spec(apps), place))
                running.edited()
            running.spec.write_text(write_spec(last))
            running.edited()
            wait_until(lambda: _wanted(last, running.shown()), 60, f"{last}\n{running.log}")

        play()
        _check(running)


def _check(running: Yard) -> None:
    for removed, present, declared in running.daemon.removals:
        assert declared > 0
        assert removed <= max(1, present // 4)
    text = running.log.getvalue()
    assert "fault of this program" not in text
    assert "internal error" not in text
    assert "Traceback" not in text
