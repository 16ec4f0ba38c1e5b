"""The command line: parses, calls the engine, prints, and maps the end to an exit code.

Commands are loaded when they are used, so that each pays only for what it does.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import Any

import click

from reconciler import __version__
from reconciler.errors import ReconcilerError, exit_code

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("spec", "Write a commented apps.yaml to start from."),
    "validate": ("spec", "Check apps.yaml and show every mistake with its place."),
    "schema": ("spec", "Print the JSON Schema of apps.yaml, for editors."),
    "plan": ("plan", "Show what apply would do, and why. Changes nothing."),
    "explain": ("plan", "Say what one app is, why, and what comes next."),
    "apply": ("apply", "Make the host what apps.yaml says, and wait for it."),
    "daemon": ("daemon", "Keep the host in step with apps.yaml, for months."),
    "status": ("status", "Show every app: status, revisions, containers, health."),
    "history": ("history", "Show past deployments with cause, outcome and reason."),
    "logs": ("history", "Show the log of a deployment, or the output of the container."),
    "deploy": ("control", "Deploy the newest source of one app, whatever the plan says."),
    "redeploy": ("control", "Rebuild and deploy the version that is deployed now."),
    "rollback": ("control", "Go back to an earlier successful deployment, and stay there."),
    "cancel": ("control", "End the deployment of an app that is in progress."),
    "kill": ("control", "End it by force, for a build that hangs."),
    "clean-queues": ("control", "Take waiting deployments out of the queue."),
    "suspend": ("control", "Let the loop leave an app alone."),
    "resume": ("control", "Let the loop care for an app again."),
    "env": ("env", "Show and edit the environment of an app, in the spec."),
    "clear": ("cleanup", "Remove an app's old deployments, logs and images."),
    "gc": ("cleanup", "Remove what retention doesn't keep, of all apps."),
    "token": ("token", "Create, list and revoke tokens of the HTTP API."),
    "doctor": ("doctor", "Check engine, builder, git, state and registries."),
    "work": ("control", ""),
    "notify": ("notify", ""),
}
"""Command → (module here, one line of help). Without help: not shown, for our own use."""


class _LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"reconciler.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items() if text])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"There is no command '{args[0]}'.{hint}", ctx) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="reconcile")
def cli() -> None:
    """Commit apps.yaml, and the containers on your Docker host become what it says.

    \b
    Start:      reconcile init, edit apps.yaml, reconcile plan, reconcile apply
    Look:       reconcile status, history, logs APP, explain APP
    Step in:    reconcile deploy APP, rollback APP, cancel APP

    Exit codes: 0 done, 1 a deployment failed, 2 changes (plan --detailed-exitcode), 64 wrong
    usage, 69 engine, git host or registry unreachable, 75 locked, 78 invalid spec, 130
    interrupted.
    """


def main() -> None:
    """The console script `reconcile`. SIGTERM ends it in order, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(50_000, 20, 20)  # imports and a spec make much that lives, and no garbage
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        pass  # nobody reads any more
    os._exit(code)  # taking every module apart costs a tenth of a command, and frees nothing


def _interrupt(_number: int, _frame: object) -> None:
    """Once: the signal often comes to the process and to its group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    color = False if "NO_COLOR" in os.environ else None
    try:
        result = cli.main(arguments, prog_name="reconcile", standalone_mode=False, color=color)
    except click.UsageError as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.command is cli:
            click.echo("  → Options come after the command: reconcile COMMAND [OPTIONS]", err=True)
        return 64
    except click.ClickException as error:
        error.show()
        return 1
    except (KeyboardInterrupt, RuntimeError) as error:
        if not _is_interrupt(error):
            raise
        click.echo("Interrupted.", err=True)
        return 130
    except ReconcilerError as error:
        click.echo(f"Error: {error}", err=True)
        return exit_code(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return result if isinstance(result, int) else 0


def _is_interrupt(error: BaseException) -> bool:
    """Also what Python makes of one that comes while a class is made."""
    return isinstance(error, KeyboardInterrupt | click.Abort) or isinstance(
        error.__cause__, KeyboardInterrupt
    )
