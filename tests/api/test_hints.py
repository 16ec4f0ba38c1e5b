"""What bodies say happened, and that no body can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.hints import (
    Hint,
    at,
    read_bitbucket,
    read_github,
    read_gitlab,
    read_registry,
)
from tests.api.senders import payload

READERS = {
    "github": read_github,
    "gitea": read_github,
    "gitlab": read_gitlab,
    "bitbucket": read_bitbucket,
}


def read(sample: str, event: str = "push") -> list[Hint]:
    reader = READERS.get(sample.partition("-")[0], read_registry)
    return reader(event, json.loads(payload(sample)))


@pytest.mark.parametrize(
    ("sample", "event", "kind", "ref", "text"),
    [
        ("github-push", "push", "push", "refs/heads/main", "push to main of shop/api"),
        ("github-tag", "push", "push", "refs/tags/v1.5.0", "tag v1.5.0 of shop/api"),
        (
            "github-deletion",
            "push",
            "deletion",
            "refs/heads/main",
            "branch main of shop/api deleted",
        ),
        (
            "github-pull-request",
            "pull_request",
            "pull_request",
            "refs/pull/7/head",
            "pull request 7 of shop/api",
        ),
        ("gitea-push", "push", "push", "refs/heads/main", "push to main of shop/api"),
        ("gitea-create", "create", "push", "refs/tags/v1.5.0", "tag v1.5.0 of shop/api"),
        (
            "gitea-create",
            "delete",
            "deletion",
            "refs/tags/v1.5.0",
            "tag v1.5.0 of shop/api deleted",
        ),
        ("gitlab-push", "Push Hook", "push", "refs/heads/main", "push to main of shop/team/api"),
        ("gitlab-tag", "System Hook", "push", "refs/tags/v1.5.0", "tag v1.5.0 of shop/team/api"),
        (
            "gitlab-deletion",
            "Push Hook",
            "deletion",
            "refs/heads/main",
            "branch main of shop/team/api deleted",
        ),
        (
            "gitlab-merge-request",
            "Merge Request Hook",
            "pull_request",
            "refs/merge-requests/7/head",
            "pull request 7 of shop/team/api",
        ),
        ("bitbucket-push", "repo:push", "push", "refs/heads/main", "push to main of shop/api"),
        (
            "bitbucket-server-push",
            "repo:refs_changed",
            "push",
            "refs/heads/main",
            "push to main of SHOP/api",
        ),
    ],
)
def test_hint_of_a_git_host(sample: str, event: str, kind: str, ref: str, text: str) -> None:
    hint = read(sample, event)[0]
    assert (hint.kind, hint.refs[0], hint.text) == (kind, ref, text)


@pytest.mark.parametrize(
    ("sample", "event"), [("github-ping", "ping"), ("bitbucket-push", "diagnostics:ping")]
)
def test_hint_of_a_ping(sample: str, event: str) -> None:
    assert [hint.kind for hint in read(sample, event)] == ["ping"]


@pytest.mark.parametrize("event", ["issues", "star", "release", ""])
def test_hint_of_an_event_that_changes_no_code(event: str) -> None:
    assert [hint.kind for hint in read("github-push", event)] == ["other"]


def test_hint_of_several_changes_at_once() -> None:
    assert [hint.kind for hint in read("bitbucket-push", "repo:push")] == ["push", "deletion"]


@pytest.mark.parametrize(
    ("sample", "event", "place", "tags"),
    [
        ("github-package", "registry_package", "ghcr.io/shop/api", ("1.5",)),
        ("gitea-package", "package", "git.example.com/shop/api", ("1.5",)),
        ("dockerhub-push", "", "docker.io/shop/api", ("1.5",)),
        ("distribution-push", "", "registry.example.com:5000/shop/api", ("1.5",)),
        ("harbor-push", "", "harbor.example.com/shop/api", ("1.5",)),
        ("quay-push", "", "quay.io/shop/api", ("1.5", "latest")),
    ],
)
def test_hint_of_an_image(sample: str, event: str, place: str, tags: tuple[str, ...]) -> None:
    (hint,) = read(sample, event)
    assert (hint.kind, hint.places[0], hint.refs) == ("image", place, tags)


def test_hint_text_is_one_short_line() -> None:
    body = json.loads(payload("github-push", ref="refs/heads/a\n\x1b[31m" + "b" * 500))
    (hint,) = read_github("push", body)
    assert hint.text.isprintable()
    assert len(hint.text) <= 120


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
SAMPLES = [
    ("github-push", "push"),
    ("github-package", "registry_package"),
    ("gitlab-push", ""),
    ("bitbucket-push", "repo:push"),
    ("bitbucket-server-push", "repo:refs_changed"),
    ("distribution-push", ""),
    ("harbor-push", ""),
    ("quay-push", ""),
]


def _paths(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    return [path, *(found for key, value in inner for found in _paths(value, (*path, key)))]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_hints_any_part_replaced_by_anything(data: st.DataObject) -> None:
    sample, event = data.draw(st.sampled_from(SAMPLES))
    body = json.loads(payload(sample))
    path = data.draw(st.sampled_from(_paths(body)))
    anything = data.draw(JSON)
    if not path:
        body = anything
    else:
        *way, last = path
        inside = body
        for key in way:
            inside = inside[key]
        inside[last] = anything
    reader = READERS.get(sample.partition("-")[0], read_registry)
    assert all(isinstance(hint, Hint) for hint in reader(event, body))


def test_at_what_is_not_there() -> None:
    assert at({"a": [1]}, "a", "b") is None
