"""Webhooks: a request that proves where it comes from, and the look that it asks for.

    POST /hooks/github             by name            POST /hooks   by its headers
    POST /hooks/registry/SECRET    where nothing is signed
    POST /api/deploy/TOKEN         an app's own URL, with any body or none

A webhook is a hint: what changed is for git or the registry to say, so a lost one delays a
deployment and a forged one costs a question. Nothing passes without a secret.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from reconciler.api.description import refusals
from reconciler.api.doors import address_of
from reconciler.api.errors import BadInput, Forbidden, Issue, NotFound, Unauthorized
from reconciler.api.hints import Hint, read_registry
from reconciler.api.matching import concerned_apps, names_ref, names_version
from reconciler.api.metrics import Metrics
from reconciler.api.places import is_same_path, is_same_place, repository_key
from reconciler.api.procedures import in_force
from reconciler.api.providers import PROVIDERS, Delivery, Provider, detect
from reconciler.api.shell import Shell
from reconciler.engine.hook_tokens import find_hook_app
from reconciler.errors import SecretError
from reconciler.source.managed import split_place
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App
from reconciler.state.deliveries import hear

log = logging.getLogger(__name__)


class HookAnswer(BaseModel):
    """What was done about a webhook."""

    message: str
    provider: str = Field(description="Who sent it; empty where that isn't known.")
    apps: list[str] = Field(description="The apps that are looked at now.")


class Hooks:
    """Hears webhooks. Its methods block, and may be called from several threads."""

    def __init__(self, shell: Shell, metrics: Metrics) -> None:
        self._backend = shell.backend
        self._metrics = metrics

    def hear(self, name: str, delivery: Delivery) -> HookAnswer:
        """A webhook of a provider, or of whoever its headers name when `name` is empty.

        Raises `NotFound`, `Forbidden`, `Unauthorized` and `BadInput`.
        """
        name = name or detect(delivery.headers)
        provider = PROVIDERS.get(name)
        if provider is None or (delivery.url_secret and not provider.at_url):
            raise NotFound(
                f"no webhooks of {name!r} are known" if name else "no known host sends this",
                todo=f"Send it to /hooks/NAME, with one of {', '.join(PROVIDERS)}.",
            )
        loaded = in_force(self._backend)
        try:
            signed = self._prove(name, provider, delivery, loaded)
        except (Unauthorized, Forbidden):
            self._metrics.heard(name, "refused")
            raise
        hints = _read(provider, delivery)
        return self._act(name, signed, hints, loaded)

    def hear_for(self, token: str, delivery: Delivery) -> HookAnswer:
        """A call of an app's own URL. Raises `NotFound`.

        What a known host says about another branch or tag is none of the app's business.
        """
        loaded = in_force(self._backend)
        names = {f"{loaded.spec.project}/{name}": app for name, app in loaded.spec.apps.items()}
        found = find_hook_app(self._backend.tools.store, names, token)
        if not found:
            raise NotFound("Application not found")
        sender = detect(delivery.headers)
        if not _is_news(names[found], sender, delivery):
            self._metrics.heard(sender or "url", "nothing")
            return HookAnswer(message=f"nothing new for {found}", provider=sender, apps=[])
        self._metrics.heard(sender or "url", "looked")
        self._backend.look(f"its own URL was called{sender and f' ({sender})'}", [found])
        return HookAnswer(message=f"looking at {found}", provider=sender, apps=[found])

    def _prove(
        self, name: str, provider: Provider, delivery: Delivery, loaded: LoadedSpec
    ) -> bytes:
        """What was signed. Without a secret, or with an empty one, nobody proves anything."""
        reference = getattr(loaded.spec.webhooks, name)
        secrets = self._backend.tools.secrets(loaded.path.parent)
        try:
            secret = reference and secrets.read(reference, app="", what=f"webhooks.{name}")
        except SecretError as error:
            log.warning("%s", error)
            secret = None
        if not secret:
            raise Forbidden(
                f"webhooks of {name} aren't set up here",
                todo=f"Give their secret in the spec, as webhooks.{name}; the log says more.",
            )
        signed = provider.prove(delivery, secret.encode("utf-8", "surrogateescape"))
        if signed is None:
            raise Unauthorized(tried=True)
        return signed

    def _act(self, name: str, signed: bytes, hints: list[Hint], loaded: LoadedSpec) -> HookAnswer:
        whole = any(self._is_configuration(hint) for hint in hints)
        every = [f"{loaded.spec.project}/{app}" for app in loaded.spec.apps]
        apps = every if whole else concerned_apps(loaded.spec, hints)
        if not (apps or whole):
            self._metrics.heard(name, "nothing")
            return HookAnswer(message=_nothing(hints), provider=name, apps=[])
        tools = self._backend.tools
        digest = hashlib.sha256(f"{name}\0".encode() + signed).hexdigest()
        if not hear(tools.store, digest, tools.clock()):
            self._metrics.heard(name, "replayed")
            return HookAnswer(message="heard before, so nothing to do", provider=name, apps=[])
        self._metrics.heard(name, "looked")
        texts = [hint.text for hint in hints if hint.kind in ("push", "pull_request", "image")]
        more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
        self._backend.look(f"{texts[0]}{more} ({name})", () if whole else apps)
        return HookAnswer(message=f"{texts[0]}{more}: looking", provider=name, apps=apps)

    def _is_configuration(self, hint: Hint) -> bool:
        """Whether the branch that the spec is kept on may have news."""
        configuration = self._backend.configuration
        if hint.kind != "push" or configuration.files:
            return False
        url, branch = split_place(configuration.place)
        known = repository_key(url)
        same = is_same_place(known, hint.places) or is_same_path(known, hint.places)
        return same and names_ref(branch or None, hint)


def _read(provider: Provider, delivery: Delivery) -> list[Hint]:
    try:
        return provider.read(provider.event(delivery), delivery.read())
    except ValueError:
        raise BadInput([Issue((), "the body isn't JSON")]) from None


def _is_news(app: App, sender: str, delivery: Delivery) -> bool:
    """A body that says nothing that is understood is a plain request to look."""
    try:
        body: Any = delivery.read() if delivery.body else None
    except ValueError:
        return True
    if sender:
        provider = PROVIDERS[sender]
        hints = provider.read(provider.event(delivery), body)
    else:
        hints = read_registry("", body)
    return not hints or any(names_version(app, hint) for hint in hints)


def _nothing(hints: Iterable[Hint]) -> str:
    """Why there is nothing to do."""
    reasons = {
        "ping": "pong",
        "deletion": "nothing is deployed for it",
        "pull_request": "no app follows it",
        "other": "changes no app",
    }
    told = [
        reasons["ping"]
        if hint.kind == "ping"
        else f"{hint.text}: {reasons.get(hint.kind, 'no app is made of it')}"
        for hint in hints
    ]
    return "; ".join(told[:3]) or "nothing in it is known here"


# -- routes ------------------------------------------------------------------------------------


def make_router(shell: Shell, metrics: Metrics) -> APIRouter:
    """The routes of webhooks."""
    router, hooks = APIRouter(tags=["webhooks"]), Hooks(shell, metrics)

    async def answer(
        request: Request, work: Callable[[Delivery], HookAnswer], url_secret: str = ""
    ) -> HookAnswer:
        headers = {key.lower(): value for key, value in request.headers.items()}
        delivery = Delivery(headers, await request.body(), url_secret)
        try:
            return await shell.threads.run(lambda: work(delivery))
        except Unauthorized as error:
            await shell.slow_down(error, address_of(request))
            raise

    docs: dict[str, Any] = {
        "responses": refusals(400, 401, 403, 404, 405, 408, 413, 429, 503),
        "openapi_extra": {"security": []},
        "response_description": "Heard. `apps` are looked at now; none, where it is no news.",
    }

    @router.post("/hooks", summary="A webhook; its headers say whose.", **docs)
    async def detected(request: Request) -> HookAnswer:
        return await answer(request, lambda delivery: hooks.hear("", delivery))

    @router.post("/hooks/{provider}", summary="A webhook of a git host or registry.", **docs)
    async def named(provider: str, request: Request) -> HookAnswer:
        return await answer(request, lambda delivery: hooks.hear(provider, delivery))

    @router.post(
        "/hooks/{provider}/{secret}", summary="The same of senders that sign nothing.", **docs
    )
    async def with_secret(provider: str, secret: str, request: Request) -> HookAnswer:
        return await answer(request, lambda delivery: hooks.hear(provider, delivery), secret)

    @router.post("/api/deploy/{token}", summary="An app's own URL: look at it now.", **docs)
    async def own_url(token: str, request: Request) -> HookAnswer:
        return await answer(request, lambda delivery: hooks.hear_for(token, delivery))

    return router
