"""Questions to an image registry: which digest does a tag name, and which tags are there?

python-dxf does the talking: pagination, and the token dance of Docker Hub, GHCR and others.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from reconciler.errors import RegistryUnavailable
from reconciler.host.refusals import TODO_LOGIN
from reconciler.host.registry import HUB, split_image
from reconciler.spec.images import is_digest

if TYPE_CHECKING:
    import requests
    from dxf import DXF, DXFBase

TIMEOUT_SECONDS = 10.0
MOST_TAGS = 100_000
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?")
_TODO_NAME = "Check the image's name; a private image needs credentials as well."
_TODO_REACH = "Check its address, and that it is up and reachable from this host."
T = TypeVar("T")


class RegistryUnreachable(RegistryUnavailable):
    """This process can't talk to it; the engine, with settings of its own, perhaps can."""


class RegistryClient:
    """One repository of a registry, over https; where that fails on loopback, over http.

    `auth` as `registry_auth` gives it. A context manager: connections live in its block.
    Methods raise `RegistryUnavailable`.
    """

    def __init__(self, image: str, auth: Mapping[str, str] | None) -> None:
        self.image = image
        self.host, self._repository = split_image(image)
        self._account = auth or {}
        self._plain = False
        self._open = ExitStack()
        self._client = self._make()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def digest(self, tag: str) -> str | None:
        """`sha256:…` of what `tag` names, for several platforms that of their index.

        None when there is no such tag or repository.
        """
        found = self._ask(lambda client: _digest(client, tag))
        if found is not None and not is_digest(found):
            raise self._strange()
        return found

    def tags(self) -> list[str]:
        """All tags; none when there is no such repository."""
        return self._ask(_tags) or []

    def check(self) -> None:
        """Whether it answers and takes the credentials."""
        self._ask(lambda client: client.api_version_check())

    def _make(self) -> DXF:
        from dxf import DXF

        client = DXF(
            self.host,
            self._repository,
            auth=self._authenticate,
            insecure=self._plain,
            timeout=TIMEOUT_SECONDS,
        )
        self._open.enter_context(client)
        # Else requests would put the password of ~/.netrc in place of the token.
        client._sessions[0].auth = _keep_header  # type: ignore[union-attr]
        return client

    def _authenticate(self, client: DXFBase, response: requests.Response) -> None:
        username, password = self._account.get("username"), self._account.get("password")
        challenge = response.headers.get("www-authenticate", "")
        if not self._plain or not challenge.lower().startswith("basic"):
            client.authenticate(username, password, response=response)
        elif username is not None:
            # dxf sends no password without TLS; on loopback it never leaves this host.
            pair = base64.b64encode(f"{username}:{password}".encode()).decode()
            client._headers = {"Authorization": f"Basic {pair}"}

    def _ask(self, question: Callable[[DXF], T]) -> T | None:
        if "identitytoken" in self._account:
            raise RegistryUnreachable(
                f"docker has only an identity token for {self.host}",
                todo="Give credentials by reference in the spec.",
            )
        try:
            with self._errors():
                return question(self._client)
        except _Missing:
            return None
        except RegistryUnreachable:
            if self._plain or not _LOOPBACK.fullmatch(self.host):
                raise
        self._open.close()
        self._plain = True
        self._client = self._make()
        return self._ask(question)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import dxf.exceptions
        import requests

        try:
            yield
        except dxf.exceptions.DXFUnauthorizedError:
            raise self._refused() from None
        except requests.HTTPError as error:
            raise self._status(error.response) from None
        except requests.RequestException as error:
            reason = _reason(error)
            raise RegistryUnreachable(
                f"the registry {self.host} doesn't answer: {reason}", todo=_TODO_REACH
            ) from None
        except (dxf.exceptions.DXFError, ValueError, KeyError, TypeError, AttributeError):
            raise self._strange() from None

    def _status(self, response: requests.Response) -> Exception:
        if response.status_code == 404:
            return _Missing()
        if response.status_code in (401, 403):
            return self._refused()
        error = RegistryUnavailable(
            f"the registry {self.host} answered {response.status_code} {response.reason}",
            todo="Try again later; the registry's own status page may tell more.",
        )
        if response.status_code == 429:
            error.what = f"the registry {self.host} limits how often it may be asked"
            error.todo = "Wait, or use an account with a higher limit."
        after = response.headers.get("Retry-After", "")
        error.retry_after = float(after) if after.isdigit() else None
        return error

    def _refused(self) -> RegistryUnavailable:
        if self._account:
            return RegistryUnavailable(
                f"the registry {self.host} refuses the credentials for {self.image}",
                todo=TODO_LOGIN,
            )
        return RegistryUnavailable(
            f"the registry {self.host} doesn't give {self.image} to just anybody",
            todo=f"{_TODO_NAME} {TODO_LOGIN}" if self.host != HUB else _TODO_NAME,
        )

    def _strange(self) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"{self.host} doesn't answer like an image registry",
            todo="Check the image's name: its first part is the registry's address.",
        )


class _Missing(Exception):  # noqa: N818 - a 404, which is an answer
    pass


def _digest(client: DXF, tag: str) -> str:
    digest, _ = client.head_manifest_and_response(tag)
    if digest:
        return digest
    from dxf import hash_bytes

    return hash_bytes(client.get_manifest_and_response(tag)[1].content)


def _tags(client: DXF) -> list[str]:
    return list(itertools.islice(client.list_aliases(iterate=True, batch_size=1000), MOST_TAGS))


def _keep_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: Exception) -> str:
    """The innermost words: requests and urllib3 wrap each other's texts."""
    text = str(error)
    for pattern in (r"\[Errno -?\d+\] ([^'\")]+)", r"(certificate verify failed[^(']*)"):
        if match := re.search(pattern, text):
            return match[1].strip()
    return "timeout" if "timed out" in text.lower() else text.partition(":")[0][:200]
