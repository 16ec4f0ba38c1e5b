"""Git URLs: what git may be called with, and what may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.spec.urls import (
    check_git_url,
    has_credentials,
    is_ssh,
    redact_url,
    strip_credentials,
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://git.example.com/a.git", "https://git.example.com/a.git"),
        ("https://user:hunter2@git.example.com/a.git", "https://*****@git.example.com/a.git"),
        ("https://hunter2@git.example.com/a", "https://*****@git.example.com/a"),
        ("https://user:hun@ter2@git.example.com/a", "https://*****@git.example.com/a"),
        ("https://user:hun/ter2@git.example.com/a", "https://*****@git.example.com/a"),
        ("http://u:hunter2@h:80/a", "http://*****@h:80/a"),
        ("ssh://git@git.example.com/a", "ssh://git@git.example.com/a"),
        ("ssh://git:hunter2@git.example.com/a", "ssh://*****@git.example.com/a"),
        ("git@git.example.com:shop/a.git", "git@git.example.com:shop/a.git"),
        ("https://h/a?private_token=hunter2", "https://h/a?*****"),
        ("https://h/a@v1", "https://h/a@v1"),
        ("/srv/a.git", "/srv/a.git"),
        ("file:///srv/a.git", "file:///srv/a.git"),
    ],
)
def test_redact_url(url, shown):
    assert redact_url(url) == shown
    assert "hunter2" not in redact_url(url)
    assert redact_url(shown) == shown


@given(st.text("abc:@?%", max_size=12), st.text("abc:/@?%", max_size=6))
def test_redact_url_hides_every_password(user, rest):
    secret = "hunter2"
    assert secret not in redact_url(f"https://{user}:{secret}{rest}@git.example.com/a.git")


@pytest.mark.parametrize(
    ("url", "has"), [("https://u:p@h/a", True), ("https://h/a", False), ("git@h:a", False)]
)
def test_has_credentials(url, has):
    assert has_credentials(url) is has


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://u:p@h/a.git", "https://h/a.git"),
        ("https://h/a.git", "https://h/a.git"),
        ("git@h:a.git", "git@h:a.git"),
        ("/srv/a.git", "/srv/a.git"),
    ],
)
def test_strip_credentials(url, written):
    assert strip_credentials(url) == written


@pytest.mark.parametrize(
    ("url", "ssh"),
    [
        ("ssh://git@h/a", True),
        ("SSH://git@h/a", True),
        ("git@h:a", True),
        ("https://h/a", False),
        ("/srv/a", False),
        ("file:///a", False),
    ],
)
def test_is_ssh(url, ssh):
    assert is_ssh(url) is ssh


@given(st.text(max_size=40))
def test_checked_url_is_never_an_option_or_a_helper(url):
    try:
        check_git_url(url)
    except ValueError:
        return
    assert not url.startswith("-")
    assert "::" not in url.partition("/")[0] or url.partition("://")[1]
    assert url.isprintable() or not url.isascii()
