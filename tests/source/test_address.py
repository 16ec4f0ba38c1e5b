"""URLs of repositories: taken apart, refused, and counted from one another."""

import pytest

from reconciler.errors import SourceError
from reconciler.source.address import Login, parse_address, submodule_address

HOSTILE = (
    "ext::sh -c 'touch /tmp/owned'",
    "ext::sh",
    "fd::7",
    "-upload-pack=touch",
    "--upload-pack=touch",
    "ssh://-oProxyCommand=touch/x",
    "-oProxyCommand=touch:x",
    "https://",
    "https:///x",
    "gopher://host/x",
    "relative/path",
    "https://host/a b",
    "https://host/x\n",
    "file://host/etc",
    "",
)


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_url_refused(url: str) -> None:
    with pytest.raises(SourceError):
        parse_address(url)


@pytest.mark.parametrize(
    ("url", "clean", "kind", "host", "login"),
    [
        ("https://host/a.git", "https://host/a.git", "https", "host", None),
        ("HTTPS://Host:444/a", "https://Host:444/a", "https", "host:444", None),
        ("https://u:p%40ss@host/a", "https://host/a", "https", "host", Login("u", "p@ss")),
        ("http://token@host/a", "http://host/a", "http", "host", Login("token", "")),
        ("ssh://git@host:22/a", "ssh://git@host:22/a", "ssh", "host:22", None),
        ("ssh://git:pw@host/a", "ssh://git@host/a", "ssh", "host", None),
        ("git@host:a/b.git", "git@host:a/b.git", "ssh", "host", None),
        ("file:///srv/a", "file:///srv/a", "file", "", None),
        ("file://localhost/srv/a", "file:///srv/a", "file", "", None),
        ("/srv/a", "/srv/a", "file", "", None),
    ],
)
def test_url_taken_apart(url: str, clean: str, kind: str, host: str, login: Login | None) -> None:
    found = parse_address(url)
    assert (found.url, found.kind, found.host, found.login) == (clean, kind, host, login)


def test_url_with_other_credentials_has_the_same_mirror() -> None:
    keys = {parse_address(f"https://{who}host/a").key for who in ("", "a:b@", "c@")}
    assert len(keys) == 1
    assert parse_address("https://host/b").key not in keys


def test_url_with_a_query_refused_without_showing_it() -> None:
    with pytest.raises(SourceError) as raised:
        parse_address("https://host/a?private_token=abcdef")
    assert "abcdef" not in str(raised.value)


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        ("https://host/a/b.git", "../c.git", "https://host/a/c.git"),
        ("https://host/a/b.git", "../../d/c", "https://host/d/c"),
        ("https://host/a/b", "./c", "https://host/a/b/c"),
        ("https://u:p@host/a/b", "../c", "https://host/a/c"),
        ("https://host/a", "../../../../c", "https://host/c"),
        ("ssh://git@host:22/a/b", "../c", "ssh://git@host:22/a/c"),
        ("git@host:a/b.git", "../c.git", "git@host:a/c.git"),
        ("git@host:/srv/a", "../c", "git@host:/srv/c"),
        ("file:///srv/a/b", "../c", "file:///srv/a/c"),
        ("/srv/a/b", "../c", "/srv/a/c"),
        ("https://host/a", "https://other/c", "https://other/c"),
    ],
)
def test_submodule_url(parent: str, url: str, expected: str) -> None:
    assert submodule_address(url, parse_address(parent), "shop/api").url == expected


@pytest.mark.parametrize("url", [*HOSTILE, "/etc", "file:///etc"])
def test_submodule_url_hostile(url: str) -> None:
    with pytest.raises(SourceError):
        submodule_address(url, parse_address("https://host/a"), "shop/api")
