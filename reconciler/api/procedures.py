"""What can be called: a name, what it takes and gives, who may, and the function that does it.

Both doors (`doors`) serve every procedure: a query is a GET, a mutation is a POST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from reconciler.api.access import Caller
from reconciler.api.backend import Backend
from reconciler.api.errors import BadInput, Forbidden, Issue, NotFound
from reconciler.errors import SpecError, Transient, UsageError
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen


@frozen
class Call:
    """One call: by whom, with which input. `caller` is None where nobody has to say who they are.

    `given` is an instance of the procedure's `takes`.
    """

    backend: Backend
    caller: Caller | None
    given: Any


@frozen
class Procedure:
    """`scope` empty: for everybody. `slow`: it may wait for git, the engine or a deployment."""

    name: str
    kind: Literal["query", "mutation"]
    scope: str
    about: str
    takes: type[BaseModel]
    gives: Any
    run: Callable[[Call], Any]
    slow: bool = False

    def read(self, data: object) -> BaseModel:
        """The input as a value. Raises `BadInput`."""
        try:
            return self.takes.model_validate({} if data is None else data)
        except ValidationError as error:
            raise BadInput([_issue(dict(one)) for one in error.errors()]) from None


def _issue(found: Mapping[str, Any]) -> Issue:
    text = _MESSAGES.get(found["type"], found["msg"])
    return Issue(tuple(found["loc"]), text)


_MESSAGES = {
    "missing": "Required",
    "extra_forbidden": "This is kept in the spec, and can't be changed through the API",
}


# -- what calls have in common ---------------------------------------------------------------


def in_force(backend: Backend) -> LoadedSpec:
    """The last valid spec. Raises `Transient` before there is any."""
    try:
        return backend.spec()
    except (SpecError, UsageError) as error:
        raise Transient(
            f"there is no valid spec yet: {error.what}",
            todo="Correct it; `reconcile validate` shows every mistake.",
        ) from error


def find_app(call: Call, asked: str, loaded: LoadedSpec | None = None) -> str:
    """`<project>/<name>` for a name, `<project>/<name>` or `<project>-<name>`.

    Also of an app that is gone from the spec: what is left of it can be looked at and ended.
    `loaded`: default, the spec in force. Raises `NotFound`, and `Forbidden` for whatever the
    token isn't for, known or not.
    """
    loaded = loaded or in_force(call.backend)
    project = loaded.spec.project
    short = asked.removeprefix(f"{project}/")
    names = loaded.spec.apps
    if short not in names and asked.startswith(f"{project}-"):
        short = asked.removeprefix(f"{project}-")
    app = f"{project}/{short}"
    if call.caller is not None and not call.caller.sees(app):
        raise Forbidden(
            f"the token {call.caller.token.name!r} isn't for the application {asked!r}",
            todo="Use a token whose --apps name it.",
        )
    if short not in names and call.backend.tools.store.find_app(app) is None:
        raise NotFound("Application not found")
    return app


def declared_app(call: Call, asked: str, loaded: LoadedSpec) -> str:
    """The same for an app that the spec must declare. Raises `NotFound`."""
    app = find_app(call, asked, loaded)
    if app.partition("/")[2] not in loaded.spec.apps:
        raise NotFound("Application not found", todo="It is gone from the spec; declare it again.")
    return app
