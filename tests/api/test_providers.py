"""Who proves to be who they say, over the bytes as they came."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.api.providers import PROVIDERS, Delivery, detect
from tests.api import senders
from tests.api.senders import SECRET, SENDERS, as_form, payload, sign


def deliver(headers: dict[str, str], body: bytes, url_secret: str = "") -> Delivery:
    return Delivery({name.lower(): value for name, value in headers.items()}, body, url_secret)


def proves(provider: str, delivery: Delivery, secret: str = SECRET) -> bool:
    return PROVIDERS[provider].prove(delivery, secret.encode()) is not None


@pytest.mark.parametrize("name", SENDERS)
def test_sender_with_all_its_headers_is_found_and_believed(name: str) -> None:
    sample, headers = SENDERS[name]
    body = payload(sample)
    delivery = deliver(headers(body), body)
    assert detect(delivery.headers) == name
    assert proves(name, delivery)
    assert not proves(name, delivery, "another secret")


@pytest.mark.parametrize("name", [name for name in SENDERS if name != "gitlab"])
def test_signature_body_changed_by_one_byte(name: str) -> None:
    sample, headers = SENDERS[name]
    body = payload(sample)
    assert not proves(name, deliver(headers(body), body.replace(b"main", b"mail", 1)))
    assert not proves(name, deliver(headers(body), body + b" "))


@pytest.mark.parametrize(
    ("name", "header", "prefix"),
    [
        ("github", "X-Hub-Signature-256", "sha256="),
        ("bitbucket", "X-Hub-Signature", "sha256="),
        ("gitea", "X-Gitea-Signature", ""),
        ("forgejo", "X-Forgejo-Signature", ""),
        ("gogs", "X-Gogs-Signature", ""),
    ],
)
def test_signature_empty_missing_or_of_another_form(name: str, header: str, prefix: str) -> None:
    sample, headers = SENDERS[name]
    body = payload(sample)
    good = headers(body)
    bare = {key: value for key, value in good.items() if key != header}
    assert proves(name, deliver(bare | {header: prefix + sign(body)}, body))
    assert not proves(name, deliver(bare, body))
    for wrong in ("", "sha256=", "sha1=" + sign(body), prefix + sign(body)[:-1], prefix + "é" * 64):
        assert not proves(name, deliver(bare | {header: wrong}, body)), wrong


def test_signature_of_gitea_doesnt_prove_forgejo() -> None:
    body = payload("gitea-push")
    headers = senders.forgejo(body, secret="") | {"X-Gitea-Signature": sign(body)}
    assert detect(deliver(headers, body).headers) == "forgejo"
    assert not proves("forgejo", deliver(headers, body))


@pytest.mark.parametrize("make", [senders.gitea, senders.forgejo])
def test_sender_without_a_secret_proves_nothing(make: Callable[..., dict[str, str]]) -> None:
    body = payload("gitea-push")
    headers = make(body, secret="")
    assert headers["X-Hub-Signature-256"] == "sha256="
    for name in ("github", "gitea", "forgejo", "gogs", "bitbucket"):
        assert not proves(name, deliver(headers, body))


def test_form_github_signs_the_form() -> None:
    form = as_form(payload("github-push"))
    headers = {"Content-Type": senders.FORM}
    delivery = deliver(senders.github(form) | headers, form)
    assert proves("github", delivery)
    assert delivery.read()["ref"] == "refs/heads/main"
    assert not proves("github", deliver(senders.github(form) | headers, form + b"&payload=x"))
    signed_payload = senders.github(payload("github-push")) | headers
    assert not proves("github", deliver(signed_payload, form))


@pytest.mark.parametrize("name", ["gitea", "forgejo", "gogs"])
def test_form_gitea_and_its_kin_sign_the_field(name: str) -> None:
    body = payload("gitea-push")
    headers = SENDERS[name][1](body) | {"Content-Type": senders.FORM}
    assert proves(name, deliver(headers, as_form(body)))
    assert not proves(name, deliver(headers, as_form(body.replace(b"main", b"mail", 1))))


def test_token_of_gitlab_with_characters_beyond_ascii() -> None:
    on_the_wire = "schlüssel".encode().decode("latin-1")
    delivery = deliver(senders.gitlab(b"", secret=on_the_wire), b"{}")
    assert proves("gitlab", delivery, "schlüssel")
    assert not proves("gitlab", delivery, "schlussel")
    assert not proves("gitlab", deliver({"X-Gitlab-Event": "Push Hook"}, b"{}"))


def test_registry_secret_in_the_url_or_as_authorization() -> None:
    body = payload("distribution-push")
    for header in (SECRET, f"Bearer {SECRET}", f"bearer {SECRET}"):
        assert proves("registry", deliver({"Authorization": header}, body))
    assert proves("registry", deliver({}, body, SECRET))
    assert proves("dockerhub", deliver({}, body, SECRET))
    assert not proves("dockerhub", deliver({"Authorization": SECRET}, body))
    for header in ("", "Bearer ", "Bearer wrong"):
        assert not proves("registry", deliver({"Authorization": header}, body))


def test_payload_nested_without_end_is_no_json() -> None:
    with pytest.raises(ValueError):
        Delivery({}, b"[" * 200_000).read()
