"""Backend `classic`: the engine's own builder, for hosts where BuildKit can't be used."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from reconciler.builder.base import Recipe
from reconciler.builder.context import tar_context
from reconciler.builder.failure import LINES_KEPT, Failure, build_error
from reconciler.errors import BuildError, ReconcilerError, Stopped, Transient
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.stream import Message, Refusal, stream

GET_BUILDKIT = (
    "Install docker's buildx plugin (package docker-buildx-plugin or docker-buildx) on this host; "
    "`reconcile doctor` shows whether BuildKit can be used."
)
_STEP = re.compile(r"Step (\d+/\d+) : (.*)")
_RUNNING = re.compile(r" ---> Running in ([0-9a-f]+)")
_NOISE = re.compile(r" ---> (?:Running in )?[0-9a-f]+$|(?: ---> )?Remov\w+ intermediate ")
_REMOVED = re.compile(r"(?: ---> )?Remov(?:ing|ed) intermediate container [0-9a-f]+")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The engine paints what a step writes to stderr."""
_ITS_OWN = re.compile(r"Step \d+/\d+ : | ---> |Remov\w+ intermediate |Successfully ")
_BUILDKIT_ONLY = re.compile(
    r"requires BuildKit|Unknown flag: (?:link|mount|security|network|checksum|parents|exclude)"
)
_END_SECONDS = 2.0
"""The engine ends a step within a quarter of a second once its client is gone."""


class Classic:
    """Builds through the engine's API."""

    name = "classic"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self._left: set[str] = set()

    def build(self, recipe: Recipe, job: Job) -> str:
        """See `Backend.build`. The connection's end is the cancellation."""
        if recipe.secrets:
            names = ", ".join(sorted(recipe.secrets))
            raise BuildError(
                f"build.secrets ({names}) need BuildKit, and this host has the classic builder",
                app=recipe.app,
                todo=GET_BUILDKIT,
            )
        self._sweep()
        output = BuildOutput(job.log)
        request = make_request(recipe, job)
        try:
            stream(self.engine, request, job, output.take)
        except Refusal as refusal:
            raise _make_error(refusal, output, recipe) from None
        except Stopped:
            self._clean_up(output)
            raise
        except Transient:
            self._remember(output.container)
            raise
        if not output.image_id:
            raise self.engine.unavailable("it ended a build without naming the image", recipe.app)
        return output.image_id

    def _clean_up(self, output: BuildOutput) -> None:
        """Return when nothing of a cancelled build runs any more.

        Its finished layers stay: they are the engine's cache, and another build may just have
        found them there.
        """
        try:
            if output.container:
                self._await_end(output.container)
        except Transient:
            self._remember(output.container)

    def _await_end(self, container: str) -> None:
        deadline = time.monotonic() + _END_SECONDS
        while self.engine.send(Request("GET", f"/containers/{container}/json")).ok:
            if time.monotonic() > deadline:
                self._remove_container(container)
                return
            time.sleep(0.01)

    def _remove_container(self, container: str) -> None:
        self.engine.send(Request("DELETE", f"/containers/{container}", {"force": "1", "v": "1"}))

    def _remember(self, container: str) -> None:
        """An engine that died in the middle of a step left its container behind."""
        with self._lock:
            self._left |= {container} - {""}

    def _sweep(self) -> None:
        with self._lock:
            left, self._left = self._left, set()
        for container in left:
            self._remove_container(container)


class BuildOutput:
    """What the engine tells while it builds: the log for people, and where it stands."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._output: deque[str] = deque(maxlen=LINES_KEPT)
        self._rest = ""
        self.step = ""
        self.container = ""
        self.image_id = ""

    def take(self, message: Message) -> None:
        """One message of the engine's answer."""
        if image_id := (message.get("aux") or {}).get("ID"):
            self.image_id = image_id
        text = _COLOURS.sub("", str(message.get("stream") or ""))
        if _ITS_OWN.match(text):
            self.flush()
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take_line(line.rstrip())

    def flush(self) -> None:
        """A step's last line may lack its newline."""
        rest, self._rest = self._rest, ""
        self._take_line(rest.rstrip())

    def _take_line(self, line: str) -> None:
        if not line:
            return
        if not _NOISE.match(line):
            self._log(line)
        if step := _STEP.fullmatch(line):
            self.step = f"[{step[1]}] {step[2]}"
            self._output.clear()
        elif running := _RUNNING.fullmatch(line):
            self.container = running[1]
        elif _REMOVED.fullmatch(line):
            self.container = ""
        elif not line.startswith(" ---> "):
            self._output.append(line)

    def failure(self, refusal: Refusal) -> Failure:
        """How the build ended, once it has ended badly."""
        self.flush()
        instruction = self.step.partition("] ")[2]
        words = instruction.split()
        image = words[1] if words[:1] == ["FROM"] and len(words) > 1 else ""
        if source := re.search(r"invalid from flag value (\S+): ", refusal.text):
            image = source[1]
        code = refusal.code if "non-zero code" in refusal.text else None
        return Failure(refusal.text, self.step, code, tuple(self._output), image)


def make_request(recipe: Recipe, job: Job) -> Request:
    """The call of the engine's API, with the context as its body."""
    query: dict[str, Any] = {
        "dockerfile": recipe.dockerfile.relative_to(recipe.context).as_posix(),
        "t": list(recipe.tags),
        "rm": "1",
        "forcerm": "1",
        "labels": json.dumps(recipe.labels),
        "buildargs": json.dumps({**_proxies(), **recipe.args}),
    }
    flags = {"nocache": recipe.no_cache, "pull": recipe.pull}
    query |= {name: "1" for name, wanted in flags.items() if wanted}
    if recipe.target:
        query["target"] = recipe.target
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": _encode_logins()}
    return Request("POST", "/build", query, headers, tar_context(recipe, job))


def _proxies() -> dict[str, str]:
    """`HTTP_PROXY` and so on from docker's own configuration, as the docker CLI passes them."""
    from docker.utils.config import load_general_config
    from docker.utils.proxy import ProxyConfig

    settings: Any = load_general_config()
    default: Any = (settings.get("proxies") or {}).get("default") or {}
    environment: Any = ProxyConfig.from_dict(default).get_environment()
    return dict(environment)


def _encode_logins() -> str:
    """All logins of docker's own configuration: the engine picks those of the base images.

    Without those that a credential helper fails to tell, as the docker CLI does it.
    """
    import docker.auth
    import docker.errors

    config: Any = docker.auth.load_config()
    try:
        logins = config.get_all_credentials()
    except docker.errors.DockerException:
        logins = {}
    return str(docker.auth.encode_header(logins).decode())


def _make_error(refusal: Refusal, output: BuildOutput, recipe: Recipe) -> ReconcilerError:
    if _BUILDKIT_ONLY.search(refusal.text) or _has_heredoc(refusal, recipe):
        return BuildError(
            f"the Dockerfile needs BuildKit, and this host has the classic builder: {refusal.text}",
            app=recipe.app,
            todo=GET_BUILDKIT,
        )
    return build_error(output.failure(refusal), recipe.app)


def _has_heredoc(refusal: Refusal, recipe: Recipe) -> bool:
    """The classic builder takes the lines of a heredoc for instructions."""
    if "unknown instruction" not in refusal.text:
        return False
    text = recipe.dockerfile.read_text(errors="replace")
    return bool(
        re.search(r"^\s*(?:RUN|COPY|ADD)\b.*<<-?[\"']?\w", text, re.MULTILINE | re.IGNORECASE)
    )
