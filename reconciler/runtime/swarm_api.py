"""The calls of a manager's API that services need. Each method is one call.

A manager that has no leader, or whose engine has just started, is as good as one that doesn't
answer: it passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from reconciler.errors import EngineUnavailable
from reconciler.host.engine import Answer
from reconciler.host.images import Auth, encode_auth
from reconciler.runtime.docker_api import (
    LIST_SECONDS,
    DockerApi,
    Document,
    Refused,
    demultiplex,
    follow_output,
)

_NOT_FOUND = 404
_UNAVAILABLE = 503
_NO_MANAGER = re.compile(
    r"not a swarm manager|not part of a swarm|does not have a leader|context (canceled|deadline)"
    r"|code = (Unavailable|DeadlineExceeded)|transport is closing|raft.* (stopped|not)"
)
_OUT_OF_SEQUENCE = "update out of sequence"
TODO_MANAGER = "Name a manager of the Swarm as the app's host (docker swarm init, docker node ls)."


class SwarmApi(DockerApi):
    """Each method is one call. Raises `Refused` and `EngineUnavailable`."""

    # -- services ----------------------------------------------------------------------------

    def services(self, label: str) -> Sequence[Document]:
        """Those that carry `label`."""
        return self._list("/services", {"label": [label]})

    def service(self, name: str) -> Document | None:
        """The service of this id or name; None when there is none."""
        return self._find(f"/services/{name}")

    def all_services(self) -> Sequence[Document]:
        """Everybody's."""
        return self._list("/services", {})

    def create_service(self, spec: Document, auth: Auth | None) -> str:
        """The new service's id."""
        answer = self._send("POST", "/services/create", body=spec, headers=_auth(auth))
        return str(answer.json()["ID"])

    def update_service(self, service: Document, spec: Document, auth: Auth | None = None) -> bool:
        """Whether it was taken; not when somebody changed it since it was read."""
        return self._update_service(service, {}, spec, auth)

    def roll_back(self, service: Document) -> bool:
        """Back to its previous spec; as `update_service`."""
        return self._update_service(service, {"rollback": "previous"}, service["Spec"], None)

    def _update_service(
        self, service: Document, query: Mapping[str, str], spec: Document, auth: Auth | None
    ) -> bool:
        query = {"version": str(service["Version"]["Index"]), **query}
        if auth is None:  # those that it was made with go on
            query["registryAuthFrom"] = "spec"
        path = f"/services/{service['ID']}/update"
        try:
            self._send("POST", path, query, spec, headers=_auth(auth) if auth else None)
        except Refused as error:
            if _OUT_OF_SEQUENCE in error.text:
                return False
            raise
        return True

    def remove_service(self, service: str) -> None:
        """Fine when it is gone already."""
        try:
            self._send("DELETE", f"/services/{service}")
        except Refused as error:
            if error.status != _NOT_FOUND:
                raise

    # -- tasks and nodes ---------------------------------------------------------------------

    def tasks(self, label: str) -> Sequence[Document]:
        """Of the services that carry `label`, those of the past included."""
        return self._list("/tasks", {"label": [label]})

    def tasks_of(self, service: str) -> Sequence[Document]:
        """Of one service, by its id."""
        try:
            return self._list("/tasks", {"service": [service]})
        except Refused as error:
            if error.status == _NOT_FOUND:
                return ()
            raise

    def nodes(self) -> Sequence[Document]:
        """All of the Swarm."""
        return self._list("/nodes", {})

    def task_log(self, task: str, count: int) -> bytes:
        """The last `count` lines of one task, wherever it ran. Fails when its node is down."""
        query = {"stdout": "1", "stderr": "1", "tail": str(count)}
        return demultiplex(self._send("GET", f"/tasks/{task}/logs", query, timeout=10).body)

    def follow_service(
        self,
        service: str,
        take: Callable[[bytes], None],
        opened: Callable[[Callable[[], None]], None],
    ) -> None:
        """Give `take` what its tasks write, from the beginning. Doesn't end by itself: `opened`
        is given what ends it, from another thread."""
        follow_output(self.engine, f"/services/{service}/logs", take, opened)

    # -- what services need ------------------------------------------------------------------

    def create_overlay(self, name: str, labels: Mapping[str, str]) -> None:
        """An overlay network that containers may join as well. Fine when somebody just made it."""
        body = {"Name": name, "Driver": "overlay", "Attachable": True, "Labels": dict(labels)}
        try:
            self._send("POST", "/networks/create", body={**body, "CheckDuplicate": True})
        except Refused as error:
            if not error.is_conflict:
                raise

    def secrets(self, label: str) -> Sequence[Document]:
        """Those that carry `label`; never their values."""
        return self._list("/secrets", {"label": [label]})

    def create_secret(self, name: str, data: str, labels: Mapping[str, str]) -> str:
        """Its id. `data` in base64."""
        body = {"Name": name, "Data": data, "Labels": dict(labels)}
        return str(self._send("POST", "/secrets/create", body=body).json()["ID"])

    def remove_secret(self, secret: str) -> bool:
        """Whether it is gone; not while a service uses it."""
        try:
            self._send("DELETE", f"/secrets/{secret}")
        except Refused as error:
            return error.status == _NOT_FOUND
        return True

    def distribution(self, image: str, auth: Auth | None) -> Document:
        """What the registry says of an image, asked by the manager."""
        answer = self._send("GET", f"/distribution/{image}/json", headers=_auth(auth), timeout=20)
        document: Document = answer.json()
        return document

    # -- within ------------------------------------------------------------------------------

    def _list(self, path: str, filters: Mapping[str, Sequence[str]]) -> Sequence[Document]:
        query = {"filters": json.dumps(filters)} if filters else {}
        answer = self._send("GET", path, query, timeout=LIST_SECONDS)
        documents: Sequence[Document] = answer.json() or ()
        return documents

    def _judge(self, answer: Answer) -> Answer:
        try:
            return super()._judge(answer)
        except Refused as error:
            if error.status == _UNAVAILABLE or _NO_MANAGER.search(error.text):
                said = error.text.rpartition("desc = ")[2]
                raise EngineUnavailable(
                    f"the engine at {self.engine.url} manages no Swarm now: {said}",
                    todo=TODO_MANAGER,
                ) from error
            raise


def _auth(auth: Auth | None) -> dict[str, str]:
    return {"X-Registry-Auth": encode_auth(auth)} if auth else {}
