"""Which apps a hint is about, and when two names mean the same repository."""

from __future__ import annotations

import pytest

from reconciler.api.hints import Hint
from reconciler.api.matching import concerned_apps
from reconciler.api.places import image_key, repository_key, repository_keys
from tests.spec.support import load

COMMIT = "5f0c1a3e7b29d84c6f10a2b3c4d5e6f708192a3b"
API = "https://git.example.com/shop/api.git"


@pytest.mark.parametrize(
    "url",
    [
        API,
        "https://git.example.com/shop/api",
        "http://git.example.com:3000/shop/api/",
        "https://robin:token@GIT.example.com/shop/api.git",
        "https://git.example.com/Shop/API.git",
        "ssh://git@git.example.com:2222/shop/api.git",
        "ssh://git@ssh.git.example.com:443/shop/api.git",
        "git@git.example.com:shop/api.git",
        "git.example.com:shop/api",
        "git@git.example.com:/shop/api.git",
        "https://git.example.com/scm/shop/api.git",
        "git://git.example.com/shop/api.git",
    ],
)
def test_key_every_form_of_one_repository(url: str) -> None:
    assert repository_key(url) == "git.example.com/shop/api"


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/shop/api2.git",
        "https://git.example.com/other/shop/api.git",
        "https://git.example.org/shop/api.git",
        "https://example.com/shop/api.git",
        "file:///shop/api.git",
        "/shop/api.git",
        "https://git.example.com/",
        "https://git.example.com.evil.test/shop/api",
        "https://evil.test/git.example.com/shop/api",
        "",
        "shop/api",
    ],
)
def test_key_another_repository(url: str) -> None:
    assert repository_key(url) != "git.example.com/shop/api"


def test_key_files() -> None:
    assert repository_key("/srv/git/api.git") == repository_key("file:///srv/git/api")
    assert repository_keys(["", "nothing", API, API]) == ("git.example.com/shop/api",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgres", "docker.io/library/postgres"),
        ("shop/api", "index.docker.io/shop/api"),
        ("GHCR.io/Shop/api", "ghcr.io/shop/api"),
    ],
)
def test_image_key_same(one: str, other: str) -> None:
    assert image_key(one) == image_key(other)


def test_image_key_other_host() -> None:
    assert len({image_key(n) for n in ("shop/api", "ghcr.io/shop/api", "localhost:5000/a")}) == 3


def concerned(revision: str, hint: Hint, source: str = f"git: {API}") -> bool:
    line = f"    revision: '{revision}'\n" if revision else ""
    spec = load(f"version: 1\nproject: shop\napps:\n  api:\n    source: {{{source}}}\n{line}").spec
    return concerned_apps(spec, [hint]) == ["shop/api"]


def push(ref: str, kind: str = "push", default: str = "main") -> Hint:
    return Hint(kind, "", ("git.example.com/shop/api",), (ref,), COMMIT, default)


@pytest.mark.parametrize(
    ("revision", "ref", "expected"),
    [
        ("main", "refs/heads/main", True),
        ("main", "refs/heads/main2", False),
        ("main", "refs/heads/feature/main", False),
        ("feature/x", "refs/heads/feature/x", True),
        ("v1.5.0", "refs/tags/v1.5.0", True),
        ("refs/tags/v1.5.0", "refs/tags/v1.5.0", True),
        ("refs/tags/v1.5.0", "refs/heads/v1.5.0", False),
        (">=1.4 <2", "refs/tags/v1.5.0", True),
        (">=1.4 <2", "refs/tags/v2.0.0", False),
        (">=1.4 <2", "refs/heads/v1.5.0", False),
        (">=1.4 <2", "refs/tags/nightly", False),
        ("", "refs/heads/main", True),
        ("HEAD", "refs/heads/main", True),
        ("", "refs/heads/other", False),
        ("", "refs/tags/main", False),
        (COMMIT, "refs/heads/main", True),
        ("0" * 39 + "1", "refs/heads/main", False),
    ],
)
def test_concerned_by_ref(revision: str, ref: str, expected: bool) -> None:
    assert concerned(revision, push(ref)) is expected


def test_concerned_default_branch_that_the_sender_doesnt_name() -> None:
    assert concerned("", push("refs/heads/trunk", default=""))
    assert not concerned("", push("refs/tags/v1", default=""))


def test_concerned_deletion_and_pull_request() -> None:
    assert not concerned("main", push("refs/heads/main", "deletion"))
    assert not concerned("main", push("refs/heads/main", "pull_request"))
    assert not concerned("", push("refs/heads/main", "pull_request"))
    assert concerned("refs/pull/7/head", push("refs/pull/7/head", "pull_request"))


def test_concerned_other_repository_and_other_kind_of_source() -> None:
    hint = push("refs/heads/main")
    assert not concerned("main", hint, "git: https://git.example.com/shop/web.git")
    assert not concerned("main", hint, "image: git.example.com/shop/api")
    assert not concerned("", hint, "path: ./api")


def test_concerned_sender_that_knows_no_host() -> None:
    hint = Hint("push", "", ("/shop/api",), ("refs/heads/main",))
    assert concerned("main", hint)
    assert not concerned("main", hint, "git: https://git.example.com/team/shop/api")


@pytest.mark.parametrize(
    ("revision", "tags", "expected"),
    [
        ("", ("latest",), True),
        ("", ("1.5",), False),
        ("1.5", ("1.5", "latest"), True),
        (">=1.4", ("1.5.0",), True),
        (">=1.4", ("1.3.0",), False),
        (">=1.4", (), True),
        ("sha256:" + "a" * 64, (), False),
    ],
)
def test_concerned_by_image_tag(revision: str, tags: tuple[str, ...], expected: bool) -> None:
    hint = Hint("image", "", ("ghcr.io/shop/api",), tags)
    assert concerned(revision, hint, "image: ghcr.io/shop/api") is expected
    assert not concerned(revision, hint, "image: ghcr.io/shop/web")
    assert not concerned("main", hint)
