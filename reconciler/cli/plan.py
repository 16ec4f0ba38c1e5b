"""`plan`, `explain`."""

from __future__ import annotations

import click

from reconciler.cli.options import Options, common_options, find_app
from reconciler.cli.output import print_json
from reconciler.engine.desired import Policy
from reconciler.plan.actions import CHANGING, UNSETTLED, Action, Plan

SIGNS = {
    "deploy": "~",
    "restart": "~",
    "redeploy": "~",
    "push": "~",
    "heal": "+",
    "scale": "~",
    "move": "~",
    "remove": "-",
    "clean": "-",
    "record": "·",
    "wait": "…",
    "hold": "=",
    "keep": "=",
    "block": "!",
    "quarantine": "!",
}
COLOUR_OF_SIGN = {"+": "green", "~": "yellow", "-": "red", "!": "red"}


@click.command()
@common_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes.")
@click.option("--prune/--no-prune", default=None, help="Override `prune` of the spec.")
@click.option("--allow-removals", type=int, help="Let this many apps be removed at once.")
def plan(
    options: Options, detailed_exitcode: bool, prune: bool | None, allow_removals: int | None
) -> int:
    """Show what `apply` would do, each action with its cause. Changes nothing.

    \b
    + heal            the container is missing or broken; the same again
    ~ deploy          a new image: clone, build, push, deploy, health
    ~ restart, push   from an image that is there already
    ~ redeploy        the same version, built again on fresh base images
    - remove, clean   containers that nothing wants any more
    · record          only written down; nothing restarts
    = hold, keep      a person, a window or a limit says: leave it
    ! block           source, secret or host is away
    ! quarantine      failed before, and nothing has changed since
    """
    from reconciler.engine.documents import front_document, plan_document
    from reconciler.engine.front import examine_front
    from reconciler.engine.snapshot import take_snapshot
    from reconciler.engine.wiring import open_tools

    loaded = options.load_aside()
    with open_tools(options.state_dir) as tools:
        snapshot = take_snapshot(tools, loaded, Policy(prune, allow_removals))
        front = examine_front(tools, loaded, snapshot.recorded, snapshot.observed)
    found = snapshot.plan
    changes = found.changes or bool(front.causes or front.troubles)
    if options.json:
        print_json({**plan_document(found), **front_document(front)})
    elif changes or not options.quiet:
        print_plan(found, loaded.spec.project)
        for cause in front.causes:
            click.echo(click.style("  ~ the proxy", fg="yellow") + f"  {cause}")
        for trouble in front.troubles:
            click.echo(click.style("  ! the proxy", fg="red") + f"  {trouble}")
    return 2 if detailed_exitcode and changes else 0


def print_plan(plan: Plan, project: str) -> None:
    """Like a diff: a sign, the app, what, why, and the stages."""
    changes = sum(action.kind in CHANGING for action in plan.actions)
    stuck = sum(action.kind in UNSETTLED for action in plan.actions)
    head = f"{project}: {changes or 'no'} {'change' if changes == 1 else 'changes'}"
    click.echo(head + (f", {stuck} held back" if stuck else ""))
    width = max((len(action.app) for action in plan.actions), default=0) - len(project) - 1
    for action in plan.actions:
        _print_action(action, width)


def _print_action(action: Action, width: int) -> None:
    sign = SIGNS[action.kind]
    name = action.app.partition("/")[2]
    head = f"  {sign} {name.ljust(width)}  {action.kind.ljust(10)}"
    click.echo(click.style(head, fg=COLOUR_OF_SIGN.get(sign)) + f"  {action.cause}")
    if action.stages:
        click.echo(" " * (width + 18) + "stages: " + ", ".join(action.stages))
    if action.todo:
        click.echo(" " * (width + 18) + f"→ {action.todo}")
    if action.until:
        click.echo(" " * (width + 18) + f"until:  {action.until:%Y-%m-%d %H:%M:%S} UTC")


@click.command()
@click.argument("app")
@common_options
def explain(options: Options, app: str) -> int:
    """Say what APP is, why it is so, and what comes next.

    What is wanted, what runs, what the last deployment did and why, and what the loop would do
    now. Changes nothing.
    """
    from reconciler.engine.explain import explain_app
    from reconciler.engine.wiring import open_tools

    loaded = options.load_aside()
    with open_tools(options.state_dir) as tools:
        document, lines = explain_app(tools, loaded, find_app(loaded, app))
    if options.json:
        print_json(document)
    else:
        click.echo("\n".join(lines))
    return 0
