"""What a revision names among a repository's refs."""

import pytest

from reconciler.errors import SourceError
from reconciler.source.refs import Refs, choose_ref, is_commit, parse_refs, refs_to_ask

A, B, C, D = (letter * 40 for letter in "abcd")
LISTED = f"""\
ref: refs/heads/main\tHEAD
{A}\tHEAD
{A}\trefs/heads/main
{B}\trefs/heads/feature/login
{B}\trefs/heads/v2
{C}\trefs/pull/7/head
{D}\trefs/tags/v1.4.0
{C}\trefs/tags/v1.4.0^{{}}
{C}\trefs/tags/v1.10.0
{A}\trefs/tags/v2
{A}\trefs/tags/v2.0.0-rc.1
"""


@pytest.fixture
def refs() -> Refs:
    return parse_refs(LISTED)


@pytest.mark.parametrize(
    ("revision", "commit", "name"),
    [
        (None, A, "main"),
        ("HEAD", A, "main"),
        ("main", A, "main"),
        ("feature/login", B, "feature/login"),
        ("refs/heads/main", A, "refs/heads/main"),
        ("refs/pull/7/head", C, "refs/pull/7/head"),
        ("v1.4.0", C, "v1.4.0"),
        ("v2", B, "v2"),
        ("refs/tags/v2", A, "refs/tags/v2"),
        (">=1.4 <2", C, "v1.10.0"),
        ("~1.4.0", C, "v1.4.0"),
        ("1.x", C, "v1.10.0"),
    ],
)
def test_revision_named(refs: Refs, revision: str | None, commit: str, name: str) -> None:
    found = choose_ref(refs, revision, "URL")
    assert (found.id, found.name) == (commit, name)


def test_default_branch_detached() -> None:
    found = choose_ref(parse_refs(f"{A}\tHEAD\n"), None, "URL")
    assert (found.id, found.name) == (A, "HEAD")


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("mian", "main"),
        ("feature/logn", "feature/login"),
        ("nothing-like-it", "main"),
        ("abcdef1", "40 digits"),
        (">=3", "v1.10.0"),
        ("refs/heads/gone", "refs/heads/gone"),
        (">=x.y", "valid"),
    ],
)
def test_revision_missing(refs: Refs, revision: str, said: str) -> None:
    with pytest.raises(SourceError) as raised:
        choose_ref(refs, revision, "URL")
    assert said in str(raised.value)
    assert revision in str(raised.value)


def test_repository_empty() -> None:
    with pytest.raises(SourceError, match="empty"):
        choose_ref(parse_refs(""), "main", "URL")


def test_default_branch_missing() -> None:
    with pytest.raises(SourceError) as raised:
        choose_ref(parse_refs(f"{A}\trefs/heads/other\n"), None, "URL")
    assert "other" in raised.value.todo


def test_question_as_small_as_possible() -> None:
    assert refs_to_ask(["main", "v1", ">=1"]) == ("--heads", "--tags")
    assert refs_to_ask(["main", None]) == ("--symref",)
    assert refs_to_ask(["refs/pull/7/head"]) == ("--symref",)


def test_full_commit_alone_is_one() -> None:
    assert is_commit(A)
    assert not any(map(is_commit, (None, A[:39], A + "a", A.upper(), "g" * 40)))
