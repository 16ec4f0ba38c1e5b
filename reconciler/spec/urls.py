"""URLs of git repositories: which are safe to hand to git, and how they may be shown."""

from __future__ import annotations

import re

_SCHEMES = ("https", "http", "ssh", "file")
_SCHEME = r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://(.*)"
_HELPER = r"[A-Za-z0-9+.-]*::"
_SCP = r"(?:[^\s@:/-][^\s@:/]*@)?(?P<host>[^\s@:/]+|\[[0-9a-fA-F:]+\]):(?P<path>.+)"
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9a-fA-F:.%]+\])(?::[0-9]{1,5})?"
_UNSEEN = r"[\x00-\x20\x7f]"
_EXPECTED = "expected https://…, ssh://…, user@host:path, file:///… or an absolute path"
HIDDEN = "*****"


def check_git_url(url: str) -> str:
    """`url`, when git may be called with it.

    Refuses helper transports (`ext::` runs commands), options in disguise, unknown schemes and
    URLs without a host. Raises ValueError with a sentence that shows nothing of the URL but its
    scheme.
    """
    if not url:
        raise ValueError(_EXPECTED)
    if re.search(_UNSEEN, url):
        raise ValueError("a git URL has no spaces or control characters")
    if url.startswith("-"):
        raise ValueError("a git URL doesn't begin with '-': git would take it for an option")
    if re.match(_HELPER, url):
        raise ValueError(f"git's helper transports (ext::, fd:: …) aren't allowed; {_EXPECTED}")
    if url.startswith("/"):
        return url
    match = re.fullmatch(_SCHEME, url)
    if match:
        _check_scheme(match[1].lower(), match[2])
    elif not _is_scp(url):
        raise ValueError(_EXPECTED, "for a directory beside this file, use source.path")
    return url


def _check_scheme(scheme: str, rest: str) -> None:
    if scheme not in _SCHEMES:
        raise ValueError(f"the scheme {scheme}:// isn't known; {_EXPECTED}")
    authority, slash, path = rest.partition("/")
    if scheme == "file":
        if authority not in ("", "localhost") or not path:
            raise ValueError("expected file:/// and an absolute path")
        return
    userinfo, _, host = authority.rpartition("@")
    if not host or not slash or not path.strip("/"):
        raise ValueError(f"expected a host and a path after {scheme}://")
    if scheme != "ssh" and ("?" in path or "#" in path):
        raise ValueError("a git URL has no query; a token belongs into 'credentials'")
    if userinfo.startswith("-") or not re.fullmatch(_HOST, host):
        raise ValueError(f"the host after {scheme}:// isn't valid")


def _is_scp(url: str) -> bool:
    match = re.fullmatch(_SCP, url)
    return bool(match) and bool(re.fullmatch(_HOST, match["host"])) if match else False


def has_credentials(url: str) -> bool:
    """Whether the URL itself carries a password or token."""
    return redact_url(url) != url


def redact_url(url: str) -> str:
    """`url` without user name and password, and without the values of its query.

    The user name of ssh (`ssh://git@host`, `git@host:path`) stays: it is no secret. Pure text
    work: a URL that is broken comes out with too much hidden rather than too little.
    """
    match = re.fullmatch(_SCHEME, url)
    if not match:
        return url
    scheme, rest = match[1], match[2]
    userinfo, at, address = rest.rpartition("@")
    is_path = re.fullmatch(_HOST, rest.partition("/")[0]) or scheme.lower() == "file"
    if at and not is_path and (scheme.lower() != "ssh" or ":" in userinfo):
        rest = f"{HIDDEN}@{address}"
    rest, question, _ = rest.partition("?")
    return f"{scheme}://{rest}{'?' + HIDDEN if question else ''}"


def strip_credentials(url: str) -> str:
    """`url` as it may be written down: user name and password taken out of http and https."""
    match = re.fullmatch(_SCHEME, url)
    if not match or not has_credentials(url):
        return url
    authority, slash, path = match[2].partition("/")
    return f"{match[1]}://{authority.rpartition('@')[2]}{slash}{path}"


def is_ssh(url: str) -> bool:
    """Whether git reaches this URL over ssh."""
    return url.lower().startswith("ssh://") or ("://" not in url and not url.startswith("/"))
