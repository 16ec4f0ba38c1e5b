"""Options that many commands share, and what they mean."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.errors import SpecError, UsageError
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.spec.loader import LoadedSpec
    from reconciler.state.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


@frozen
class Options:
    """What was said on the command line or in the environment."""

    file: Path
    state_dir: Path
    output: str
    quiet: bool
    verbose: bool

    @property
    def json(self) -> bool:
        return self.output == "json"

    @property
    def cache_dir(self) -> Path:
        """Where the last valid spec is kept."""
        return self.state_dir / "spec"

    def load(self) -> LoadedSpec:
        """Read the spec. Raises `SpecError`."""
        from reconciler.spec.loader import load_spec

        return load_spec(self.file, cache=self.cache_dir)


def default_state_dir() -> Path:
    """`/var/lib/reconciler` for root, else below the user's state directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/reconciler")
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(home) / "reconciler"


def common_options(command: Command) -> Command:
    """`-f`, `--state-dir`, `-o`, `-q`, `-v`; the command gets an `Options` as `options`."""
    return _add_options(command, ("-f", "--file"))


def common_options_without_f(command: Command) -> Command:
    """The same for a command whose `-f` means to follow."""
    return _add_options(command, ("--file",))


def _add_options(command: Command, file_flags: tuple[str, ...]) -> Command:
    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        options = Options(
            file=Path(kwargs.pop("file")).absolute(),
            state_dir=Path(kwargs.pop("state_dir") or default_state_dir()).absolute(),
            output=kwargs.pop("output"),
            quiet=kwargs.pop("quiet"),
            verbose=kwargs.pop("verbose"),
        )
        return command(*args, options=options, **kwargs)

    for decorate in (
        click.option(
            *file_flags, default="apps.yaml", envvar="RECONCILE_FILE", show_default=True,
            show_envvar=True, help="The spec.",
        ),
        click.option(
            "--state-dir", envvar="RECONCILE_STATE_DIR", show_envvar=True,
            help="Where state, logs and mirrors are kept. Default: /var/lib/reconciler for root, "
            "else ~/.local/state/reconciler.",
        ),
        click.option(
            "-o", "--output", type=click.Choice(["table", "json"]), default="table",
            show_default=True, help="json prints one document on stdout, and nothing else there.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print only what happened or failed."),
        click.option("-v", "--verbose", is_flag=True, help="Print the log lines of deployments."),
    ):  # fmt: skip
        wrapper = decorate(wrapper)
    return wrapper  # type: ignore[return-value]


def readable(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A callback for texts that are stored: bytes that aren't UTF-8 become question marks."""
    return value.encode("utf-8", "replace").decode() if value else value


def find_known_app(options: Options, store: Store, name: str) -> str:
    """Like `find_app`, but also an app that is gone from the spec, and also while the spec is
    invalid: what is in progress can always be looked at and ended.
    """
    known = store.app_names()
    try:
        loaded = options.load()
    except SpecError:
        projects = {app.partition("/")[0] for app in known}
        guess = f"{projects.pop()}/{name}" if len(projects) == 1 else name
        found = next((app for app in (name, guess) if app in known), None)
        if found is None:
            raise
        return found
    project = loaded.spec.project
    full = f"{project}/{name.removeprefix(f'{project}/')}"
    return full if full in known else find_app(loaded, name)


def find_app(loaded: LoadedSpec, name: str) -> str:
    """`<project>/<name>` for `name` or `<project>/<name>`. Raises `UsageError`."""
    project = loaded.spec.project
    short = name.removeprefix(f"{project}/")
    if short in loaded.spec.apps:
        return f"{project}/{short}"
    import difflib

    near = difflib.get_close_matches(short, loaded.spec.apps, 1)
    known = ", ".join(sorted(loaded.spec.apps)) or "none"
    raise UsageError(
        f"there is no app {name!r} in {loaded.path}",
        todo=f"Did you mean {near[0]!r}?" if near else f"Its apps are: {known}.",
    )
