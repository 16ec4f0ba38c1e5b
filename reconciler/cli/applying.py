"""What `apply` does once it knows what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Options
from reconciler.cli.output import colour, print_json
from reconciler.cli.progress import show_progress
from reconciler.engine.desired import Policy
from reconciler.engine.reconcile import Pass, run_pass
from reconciler.engine.wiring import open_tools
from reconciler.errors import ReconcilerError, TimedOut, Transient
from reconciler.events import ignore
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import UNSETTLED, Action
from reconciler.spec.loaded import LoadedSpec

if TYPE_CHECKING:
    from reconciler.state.records import Deployment


MOST_PASSES = 3
"""What others asked for may have led elsewhere than the spec says; and each link of a chain of
dependencies is one pass more."""
NOTIFY_SECONDS = 6.0


def load_from_repository(options: Options) -> LoadedSpec:
    """The newest spec; what is in force and what is wrong is written down for `status`."""
    import time

    from reconciler.cli.configuration import open_configuration
    from reconciler.engine.kept import Ledger
    from reconciler.state.store import Store

    configuration = open_configuration(options)
    store = Store(options.state_dir)
    ledger = Ledger(store, time.time, ignore)
    try:
        loaded = configuration.load()
        ledger.accept(configuration.place, loaded)
    except ReconcilerError as error:
        last = None
        with suppress(ReconcilerError):
            last = configuration.in_force()
        ledger.refuse(configuration.place, error, last)
        raise
    finally:
        store.close()
    return loaded


def run_apply(options: Options, loaded: LoadedSpec, policy: Policy, *, wait: bool) -> int:
    """Plan, deploy, and print; the exit code."""
    with (
        show_progress(quiet=options.quiet or options.json, verbose=options.verbose) as listen,
        open_tools(options.state_dir, listen) as tools,
    ):
        rows: list[Deployment] = []
        for _ in range(MOST_PASSES + len(loaded.spec.apps)):
            done = run_pass(tools, loaded, policy, "apply")
            ours = [row.id for row in done.queued]
            ids = [*ours, *done.on_their_way]
            if not wait:
                from reconciler.cli.detach import start_worker

                start_worker(options, ids)
                rows = list(done.queued)
            elif ids:
                from reconciler.engine.worker import Workers

                rows += Workers(tools, loaded.spec.concurrency, ids, ours).run_to_end()
            if not wait or not (done.on_their_way or done.snapshot.plan.chained):
                break
        if loaded.spec.notify:
            _notify(tools, loaded, done)
        if options.json:
            from reconciler.engine.documents import front_document, history_document, plan_document

            plan = {**plan_document(done.snapshot.plan), **front_document(done.front)}
            print_json({**plan, **history_document(tools.store, rows)})
    if not options.json:
        _summarise(options, done, rows, waited=wait)
    return _exit_code(done, rows)


def _notify(tools: Tools, loaded: LoadedSpec, done: Pass) -> None:
    """Send what there is to tell; what takes longer than a few seconds is for the next time."""
    import threading

    from reconciler.engine.notices import deliver, tell
    from reconciler.host.job import Job

    if not tell(tools, loaded, done.snapshot):
        return
    job = Job()
    late = TimedOut(f"not delivered within {NOTIFY_SECONDS:g} s")
    timer = threading.Timer(NOTIFY_SECONDS, job.cancel.cancel, (late,))
    timer.daemon = True
    timer.start()
    deliver(tools, loaded, job)
    timer.cancel()


def _summarise(options: Options, done: Pass, rows: Sequence[Deployment], *, waited: bool) -> None:
    for row in rows:
        _print_row(row, waited=waited)
    for trouble in done.front.troubles:
        click.echo(f"proxy: {colour('error', 'failed')}: {trouble}")
    for action in _unsettled(done):
        if options.quiet and action.kind == "quarantine":
            continue  # told when it failed; cron would say it again every few minutes
        click.echo(f"{action.app}: {colour(action.kind, 'failed')}: {action.cause}")
        if action.todo:
            click.echo(f"  → {action.todo}")
    if done.front.causes and not options.quiet:
        click.echo(f"proxy: corrected: {', '.join(done.front.causes)}")
    if options.quiet:
        return
    for action in (later := _later(done, waited=waited)):
        click.echo(f"{action.app}: {action.kind}: {action.cause}")
    if not rows and not _unsettled(done):
        recorded = [a for a in done.snapshot.plan.actions if a.kind in ("record", "clean")]
        for action in recorded:
            click.echo(f"{action.app}: {action.kind}: {action.cause}")
        click.echo("Nothing to deploy." if recorded or later else "Nothing to do.")


def _later(done: Pass, *, waited: bool) -> list[Action]:
    """What comes by itself: when a window opens, a pause ends, or a dependency is there."""
    actions = done.snapshot.plan.actions
    return [
        action
        for action in actions
        if (action.lasting and action.kind not in UNSETTLED)
        or (action.kind == "wait" and action.after and not waited)
    ]


def _print_row(row: Deployment, *, waited: bool) -> None:
    end = row.outcome or row.status
    took = f" in {row.finished_at - row.queued_at:.1f}s" if row.finished_at else ""
    click.echo(f"{row.app}: {row.kind} {colour(end)}{took}: {row.cause}")
    if row.reason and waited:
        click.echo(f"  reason: {row.reason}")
        if row.todo:
            click.echo(f"  → {row.todo}")
        click.echo(f"  log:    reconcile logs {row.app.partition('/')[2]}")
    if not waited:
        click.echo(f"  deployment {row.id}")


def _unsettled(done: Pass) -> list[Action]:
    return [action for action in done.snapshot.plan.actions if action.kind in UNSETTLED]


def _exit_code(done: Pass, rows: Sequence[Deployment]) -> int:
    """1 when anything failed; 69 when nothing did, but something was out of reach."""
    if any(row.status == "error" or row.outcome == "cancelled" for row in rows):
        return 1
    unsettled = _unsettled(done)
    troubles = done.front.troubles
    if any(not action.passing for action in unsettled):
        return 1
    if any(not isinstance(trouble, Transient) for trouble in troubles):
        return 1
    return 69 if unsettled or troubles else 0
