"""Ranges and plain names, and which tag is the best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_version import NpmSpec, Version

from reconciler.spec.images import check_reference, is_digest, is_tag
from reconciler.spec.revisions import check_ref, parse_range


@pytest.mark.parametrize(
    "text",
    ["main", "v1.4.2", "1.4", "1", "feature/x", "0123456789abcdef", "sha256:00", "x", "1x", "a-b"],
)
def test_plain_name_is_no_range(text):
    assert parse_range(text) is None


@pytest.mark.parametrize(
    ("text", "best"),
    [
        (">=1.4 <2", "v1.10.0"),
        ("^1.4", "v1.10.0"),
        ("~1.4.0", "1.4.2"),
        ("=1.4.0", "v1.4.0"),
        ("1.x", "v1.10.0"),
        ("1.4.x", "1.4.2"),
        ("v1.4.X", "1.4.2"),
        ("1.2 - 1.4", "1.4.2"),
        ("^1.4 || ^2", "2.0.1"),
        ("*", "3.1"),
        (">=2.1.0-rc.1 <2.2", "2.1.0-rc.2"),
        (">=2.1 <3", None),
        (">9", None),
        ("<=1.4.0 ", "v1.4.0"),
    ],
)
def test_best_tag(text, best):
    names = [
        "latest",
        "stable",
        "v1.4.0",
        "1.4.2",
        "v1.10.0",
        "1.9.9",
        "2.0.1",
        "2.1.0-rc.1",
        "2.1.0-rc.2",
        "3.1",
        "20240101",
        "1.27-alpine",
        "01.2.3",
        "1.2.3.4",
        "v2.0.0-beta",
        "v",
        "1.99.0-alpine",
    ]
    found = parse_range(text)
    assert found is not None
    assert found.text == text
    assert found.best(names) == best
    assert found.best(reversed(names)) == best


def test_best_of_equal_versions_is_the_more_precise_name():
    found = parse_range("^1")
    assert found is not None
    assert found.best(["1.4", "v1.4", "1.4.0"]) == "1.4.0"
    assert found.best([]) is None


@pytest.mark.parametrize("text", [">=1.4,<2", ">=one", "main branch", "rel/*", "==1", "^"])
def test_broken_range(text):
    with pytest.raises(ValueError, match="semver range"):
        parse_range(text)


@given(st.text("0123456789.xX*<>=^~ |-v+a,", max_size=12))
def test_range_is_what_npm_accepts_or_refused(text):
    try:
        found = parse_range(text)
    except ValueError:
        return
    if found is not None:
        spec = NpmSpec(text.strip())
        versions = ["0.0.1", "1.0.0", "1.2.3", "10.0.0"]
        fits = [one for one in versions if Version(one) in spec]
        assert found.best(versions) == (fits[-1] if fits else None)


@pytest.mark.parametrize("text", ["main", "v1.4", "feature/a-b", "0" * 40, "a.b", "@a", "täg"])
def test_ref_that_git_knows(text):
    assert check_ref(text) == text


@pytest.mark.parametrize(
    "text",
    ["-a", "a..b", "a b", "a~1", "a^", "a:b", "a@{1}", "a.lock", "a/", "/a", "a//b", "@", ".a"],
)
def test_ref_that_git_refuses(text):
    with pytest.raises(ValueError, match="branch"):
        check_ref(text)


def test_tags_and_digests():
    assert is_tag("1.27-alpine")
    assert not is_tag("a/b")
    assert is_digest("sha256:" + "0" * 64)
    assert not is_digest("sha256:0")
    assert check_reference("ghcr.io/shop/web:1.4@sha256:" + "0" * 64)
