"""What hides secrets in texts, and what is no secret that can be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import SecretError
from reconciler.host.secrets import HIDDEN, Redactor, Secrets
from reconciler.spec.models import EnvRef

AWKWARD = "pa\"ss\\wörd's"


@pytest.mark.parametrize("quoted", [AWKWARD, repr(AWKWARD)[1:-1], json.dumps(AWKWARD)[1:-1]])
def test_redactor_hides_a_secret_also_where_it_is_quoted(quoted: str) -> None:
    redactor = Redactor()
    redactor.learn(AWKWARD)
    assert redactor.hide(f"refused {quoted} here") == f"refused {HIDDEN} here"


def test_redactor_hides_the_longest_of_several_that_begin_alike() -> None:
    redactor = Redactor()
    for value in ("pass", "passphrase", "password", "abc", "phrase-2"):
        redactor.learn(value)
    shown = redactor.hide("abc passphrase-2 passwordpass passé, pas")
    assert shown == f"abc {HIDDEN}-2 {HIDDEN}{HIDDEN} {HIDDEN}é, pas"


def test_redactor_learns_thousands_of_secrets_that_begin_alike() -> None:
    """Each compared with all others would take minutes."""
    redactor = Redactor()
    values = [f"postgres://shop:{number:x}" for number in range(20_000)]
    for value in values:
        redactor.learn(value)
    assert redactor.hide(f"to {values[-1]} and {values[7]}") == f"to {HIDDEN} and {HIDDEN}"


def test_secrets_variable_that_is_no_text() -> None:
    secrets = Secrets(Path("/"), environ={"TOKEN": "\udcff"})
    with pytest.raises(SecretError, match="isn't UTF-8 text"):
        secrets.read(EnvRef(env="TOKEN"), app="shop/api", what="env.TOKEN")
