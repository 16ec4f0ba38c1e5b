"""Options that many commands share, and what they mean."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from reconciler.errors import SpecError, Stalled, Transient, UsageError
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.spec.loader import LoadedSpec
    from reconciler.state.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


@frozen
class Options:
    """What was said on the command line or in the environment.

    The spec is in `file`, or with `repo` (a git URL) in a repository: at `path` on `branch`, empty
    for the default one. `protect_history`, `author`: see `engine.config_repo.RepoPlace`.
    """

    file: Path
    state_dir: Path
    output: str
    quiet: bool
    verbose: bool
    repo: str = field(default="", repr=False)
    branch: str = ""
    path: str = "apps.yaml"
    protect_history: bool = False
    author: str = ""

    @property
    def json(self) -> bool:
        return self.output == "json"

    @property
    def cache_dir(self) -> Path:
        """Where the last valid spec is kept."""
        return self.state_dir / "spec"

    @property
    def place(self) -> str:
        """Where the spec is, as `Configuration.place` says it."""
        if not self.repo:
            return str(self.file)
        from reconciler.source.managed import name_place

        return name_place(self.repo, self.branch, self.path)

    def load(self) -> LoadedSpec:
        """The newest spec, which is in force from now on. Raises `SpecError`, and for a repository
        `GitUnavailable` and so on.
        """
        if self.repo:
            from reconciler.cli.configuration import open_configuration

            return open_configuration(self).load()
        from reconciler.spec.loader import load_spec

        return load_spec(self.file, cache=self.cache_dir)

    def load_aside(self) -> LoadedSpec:
        """The newest spec, for commands that change nothing. Raises the same."""
        if self.repo:
            from reconciler.cli.configuration import open_configuration

            return open_configuration(self, aside=True).load()
        return self.load()

    def load_known(self) -> LoadedSpec:
        """The spec in force, for commands that shall work while the git host is away. For a file
        that is what it says; else the host is asked only before anything is in force.
        """
        if self.repo:
            from reconciler.cli.configuration import open_configuration

            configuration = open_configuration(self)
            return configuration.in_force() or configuration.load()
        return self.load()


class Length(click.ParamType[float]):
    """A duration as the spec writes it, `90s` or `5m`; the command gets seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        from reconciler.spec.scalars import seconds

        try:
            return seconds(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def read_length(option: str, text: str) -> float:
    """Seconds of a duration that an option has. Raises `UsageError`."""
    from reconciler.spec.scalars import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from error


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
            repo=_choose_place(kwargs.pop("repo") or ""),
            branch=kwargs.pop("branch") or "",
            path=kwargs.pop("path"),
            protect_history=kwargs.pop("protect_history", False),
            author=kwargs.pop("author", None) or "",
        )
        if options.repo:
            _check_place(options)
        return command(*args, options=options, **kwargs)

    for decorate in (
        click.option(
            *file_flags, default="apps.yaml", envvar="RECONCILE_FILE", show_default=True,
            show_envvar=True, help="The spec.",
        ),
        click.option(
            "--repo", envvar="RECONCILE_REPO", show_envvar=True, metavar="URL",
            help="The git repository that has the spec, in place of a file here. An account: "
            "RECONCILE_REPO_TOKEN, RECONCILE_REPO_SSH_KEY, or the ssh agent.",
        ),
        click.option(
            "--branch", envvar="RECONCILE_BRANCH", show_envvar=True,
            help="Its branch; default: the repository's.",
        ),
        click.option(
            "--path", default="apps.yaml", envvar="RECONCILE_PATH", show_default=True,
            show_envvar=True, help="The spec in it.",
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


protect_history_option = click.option(
    "--protect-history", is_flag=True, envvar="RECONCILE_PROTECT_HISTORY", show_envvar=True,
    help="With --repo: refuse a commit that doesn't follow from the one in force.",
)  # fmt: skip
author_option = click.option(
    "--author", envvar="RECONCILE_AUTHOR", show_envvar=True, metavar="'NAME <ADDRESS>'",
    help="With --repo: who commits; default: git's settings, else reconciler.",
)  # fmt: skip


def _choose_place(repo: str) -> str:
    """The repository's URL, empty when the spec is in a file: the command line goes before the
    environment. Raises `UsageError` for both at once.
    """
    if not repo:
        return ""
    context = click.get_current_context()
    order = [ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT]
    file, url = (context.get_parameter_source(name) for name in ("file", "repo"))
    if file not in order:
        return repo
    if file is url:
        raise UsageError(
            "the spec is either in a file or in a repository",
            todo="Say --file (RECONCILE_FILE) or --repo (RECONCILE_REPO), not both.",
        )
    return repo if url is ParameterSource.COMMANDLINE else ""


def _check_place(options: Options) -> None:
    """Raises `UsageError` for what git must not be called with."""
    from pathlib import PurePosixPath

    from reconciler.spec.revisions import check_ref
    from reconciler.spec.urls import check_git_url

    try:
        check_git_url(options.repo)
    except ValueError as error:
        raise UsageError(f"--repo: {': '.join(map(str, error.args))}") from None
    path = PurePosixPath(options.path)
    if path.is_absolute() or ".." in path.parts or str(path) != options.path or "\0" in str(path):
        raise UsageError(
            f"--path {options.path!r} is no plain path in a repository",
            todo="Write it as seen from the repository's top, such as 'deploy/apps.yaml'.",
        )
    try:
        check_ref(options.branch)
    except ValueError:
        raise UsageError(f"--branch {options.branch!r} is no name of a branch") from None
    if options.author:
        from reconciler.source.pushing import parse_person

        parse_person(options.author)


def readable(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A callback for texts that are stored: bytes that aren't UTF-8 become question marks."""
    return value.encode("utf-8", "replace").decode() if value else value


def find_known_app(options: Options, store: Store, name: str) -> str:
    """Like `find_app`, but also an app that is gone from the spec, and also while the spec is
    invalid: what is in progress can always be looked at and ended.
    """
    known = store.app_names()
    try:
        loaded = options.load_known()
    except (SpecError, Transient, Stalled):
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
