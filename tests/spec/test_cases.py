"""Broken files as data: `cases/*.yaml`, each with the problems that it must give at its top.

    #! LINE:COLUMN FIELD: MESSAGE (HINT)

Lines count as the file stands. A new case needs no Python.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.spec.nodes import compose, make_composer
from reconciler.spec.reading import Reading
from tests.spec.support import as_line, lines_of

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
SECRET = "hunter2"


def _expected(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.removeprefix("#! ") for line in lines if line.startswith("#! ")]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_broken_file(path):
    found = lines_of(path.read_text())
    assert found == _expected(path)
    assert found


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_broken_file_shows_no_secret(path):
    assert SECRET not in "\n".join(lines_of(path.read_text()))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_parser_in_python_agrees(path):
    """Without libyaml the same problems come out, on the same lines."""
    ours, theirs = Reading(), Reading()
    compose(path.read_bytes(), "apps.yaml", ours)
    compose(path.read_bytes(), "apps.yaml", theirs, make_composer(use_libyaml=False))
    assert [as_line(one).split(":")[0] for one in ours.problems] == [
        as_line(one).split(":")[0] for one in theirs.problems
    ]
    assert [one.message for one in ours.problems] == [one.message for one in theirs.problems]


def test_cases_are_there():
    assert len(CASES) > 40
