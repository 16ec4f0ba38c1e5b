"""Backend `buildkit`: `docker build` as a child process, as BuildKit needs the CLI's session."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.builder.base import Recipe
from reconciler.builder.failure import build_error
from reconciler.builder.progress import BuildLog
from reconciler.errors import BuildError, EngineUnavailable, ReconcilerError
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.process import Command, run_command
from reconciler.host.refusals import disk_full
from reconciler.host.secrets import Redactor

_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_SECRET = 100_000
"""The kernel refuses a longer variable (MAX_ARG_STRLEN is 131,072 bytes)."""
_ENGINE_GONE = re.compile(
    r"cannot connect to the docker daemon|error during connect|transport is closing"
    r"|error reading from server|failed to (?:receive status|dial)|connection error"
    r"|code = Unavailable|server did not provide an image ID",
    re.IGNORECASE,
)
_ENVIRONMENT = {
    "DOCKER_BUILDKIT": "1",
    "DOCKER_CONTEXT": None,
    "DOCKER_CLI_HINTS": "false",
    # With buildx: build in the engine itself, whatever builder the user has chosen, and without
    # attestations, which would give equal builds different ids.
    "BUILDX_BUILDER": "default",
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    "BUILDX_GIT_INFO": "false",
}


class BuildKit:
    """Builds with the docker CLI at `cli`."""

    name = "buildkit"

    def __init__(self, engine: Engine, cli: str) -> None:
        self.engine = engine
        self.cli = cli

    def build(self, recipe: Recipe, job: Job) -> str:
        """See `Backend.build`. A cancellation ends the CLI's process group, and the engine then
        ends the step."""
        redactor = Redactor()
        for value in recipe.secrets.values():
            redactor.learn(value)
        progress = BuildLog(lambda line: job.log(redactor.hide(line)))
        with _place_for_id(job.app) as id_file:
            command = make_command(self.cli, self.engine.cli_environment(), recipe, id_file)
            finished = run_command(command, replace(job, log=progress.take))
            if finished.returncode != 0:
                problem = self._make_error(progress, recipe.app)
                problem.what, problem.detail = map(redactor.hide, (problem.what, problem.detail))
                raise problem
            return id_file.read_text().strip()

    def _make_error(self, progress: BuildLog, app: str) -> ReconcilerError:
        failure = progress.failure()
        if not failure.step and (reason := self._why_gone(failure.message)):
            return self.engine.unavailable(reason, app)
        return build_error(failure, app)

    def _why_gone(self, message: str) -> str:
        """What the CLI says of an engine that died depends on what it was doing."""
        try:
            self.engine.send(Request("GET", "/_ping"))
        except EngineUnavailable as error:
            return error.what.partition(": ")[2]
        return message if _ENGINE_GONE.search(message) else ""


def make_command(
    cli: str, engine: Mapping[str, str | None], recipe: Recipe, id_file: Path
) -> Command:
    """The call of the CLI. `engine` is what `Engine.cli_environment` says.

    Secrets go through the CLI's environment, and argv names the variables.
    """
    check_secrets(recipe)
    variables = {name: f"RECONCILER_SECRET_{i}" for i, name in enumerate(sorted(recipe.secrets))}
    argv = [cli, "build", "--progress", "plain", "--iidfile", str(id_file)]
    argv += ["--file", str(recipe.dockerfile)]
    argv += [word for tag in recipe.tags for word in ("--tag", tag)]
    argv += _pairs("--label", recipe.labels)
    argv += _pairs("--build-arg", recipe.args)
    for name, variable in variables.items():
        argv += ["--secret", f"id={name},env={variable}"]
    if recipe.target:
        argv += ["--target", recipe.target]
    argv += ["--no-cache"] * recipe.no_cache + ["--pull"] * recipe.pull
    env = {variables[name]: value for name, value in recipe.secrets.items()}
    return Command(
        argv=[*argv, "--", str(recipe.context)],
        env={**_ENVIRONMENT, **env, **engine},
        log_output=True,
    )


def _pairs(option: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]


def check_secrets(recipe: Recipe) -> None:
    """Raises `BuildError` for a secret that can't be handed over."""
    for name, value in recipe.secrets.items():
        if not _SECRET_NAME.fullmatch(name):
            raise BuildError(
                f"build.secrets has the name {name!r}, which BuildKit can't take as an id",
                app=recipe.app,
                todo="Use letters, digits, dots, dashes and underscores.",
            )
        if len(value.encode()) > _LONGEST_SECRET or "\0" in value:
            raise BuildError(
                f"the build secret {name} has more than {_LONGEST_SECRET} bytes or a zero byte",
                app=recipe.app,
                todo="Give the build a token, and let it fetch what is large.",
            )


@contextmanager
def _place_for_id(app: str) -> Iterator[Path]:
    """A new file name in a private directory, for the image id that the CLI writes."""
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="reconciler-") as directory:
            yield Path(directory) / "image-id"
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(str(error), app) from error
        raise
