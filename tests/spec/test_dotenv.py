"""Env texts: every awkward character as dotenv readers take it, and lines that say it exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.spec.dotenv import has_line, parse, render

AWKWARD = st.text(
    st.one_of(st.sampled_from("'\"\\ \t\r\n#=$ab`\x85\u2028"), st.characters(codec="utf-8"))
)
NAMES = st.text(st.sampled_from("AB_ #'$.é\"-"), min_size=1).filter(has_line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\r\n\r\n  \nB=two words \rC=3", {"A": "1", "B": "two words", "C": "3"}),
        ("A=a=b=\nB==\nC=\n", {"A": "a=b=", "B": "=", "C": ""}),
        ("A=$HOME\nB=\"${A}\"\nC='$$'\n", {"A": "$HOME", "B": "${A}", "C": "$$"}),
        ("A=x#y\nB=x #y\nC='x #y'\n#D=1\nE=#x\n", {"A": "x#y", "B": "x", "C": "x #y", "E": "#x"}),
        ('A=\'it\\\'s\'\nB="a\\n\\"b\\""\nC=a\\nb\n', {"A": "it's", "B": 'a\n"b"', "C": "a\\nb"}),
        ("A='one\r\n two'\nB='\\\\'\n", {"A": "one\r\n two", "B": "\\"}),
        ("export A=1\n B = 2\n'C D'=3\nB=4\n", {"A": "1", "B": "4", "C D": "3"}),
        ("\ufeffA=1", {"A": "1"}),
        ("", {}),
    ],
)
def test_text_is_read_as_dotenv_readers_do(text: str, expected: dict[str, str]) -> None:
    assert parse(text) == expected


@given(st.dictionaries(NAMES, AWKWARD))
def test_rendered_variables_are_read_back(variables: dict[str, str]) -> None:
    assert parse(render(variables)) == variables


@pytest.mark.parametrize(
    "text", ["A=1\n\nhunter2\n", "A=1\r\n\r\n'hunter2'x=1", "A=1\n\nB='hunter2"]
)
def test_line_that_is_not_understood_is_named_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "line 3" in str(caught.value)
    assert "hunter2" not in str(caught.value)
