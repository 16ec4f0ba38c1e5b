"""`status --watch`: a live screen on a terminal, else a line for each change."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Options
from reconciler.cli.output import COLOURS
from reconciler.cli.status import (
    Seen,
    are_elsewhere,
    away_of,
    host_of,
    look,
    note_of,
    status_of,
)
from reconciler.daemon.standby import read_leader
from reconciler.engine.documents import Document, iso
from reconciler.errors import ReconcilerError
from reconciler.state.records import Stage
from reconciler.state.store import Store
from reconciler.values import frozen

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from reconciler.runtime.fleet import Fleet

HEAD_LINES = 4
"""What stands above the table, at most, with the table's own head."""


@frozen
class Scene:
    """What one look has found. `stages` are those of running deployments, by app."""

    seen: Seen
    stages: Mapping[str, Sequence[Stage]]
    daemon: str
    now: float

    @property
    def apps(self) -> list[Document]:
        return list(self.seen.document["apps"])


def watch_status(options: Options, fleet: Fleet, store: Store, every: float) -> int:
    """Look every so many seconds, and show it, until Ctrl-C, which is how it ends: 0.

    Raises what the first look raises; later the last one that worked is shown, with what is wrong.
    """
    scenes = _scenes(options, fleet, store, every)
    try:
        if options.json:
            _print_documents(scenes)
        elif sys.stdout.isatty():
            _show(scenes)
        else:
            _print_changes(scenes)
    except KeyboardInterrupt:
        pass
    finally:
        store.close()
        fleet.hosts.close()
    return 0


def _scenes(options: Options, fleet: Fleet, store: Store, every: float) -> Iterator[Scene]:
    """One look each; the next one not before its time."""
    seen = look(options, fleet, store)
    while True:
        begun = time.monotonic()
        stages = {
            entry["name"]: store.list_stages(entry["deployment"])
            for entry in seen.document["apps"]
            if entry["status"] == "running" and entry["deployment"]
        }
        yield Scene(seen, stages, _daemon(options), time.time())
        time.sleep(max(0.0, begun + every - time.monotonic()))
        try:
            seen = look(options, fleet, store)
        except ReconcilerError as error:
            seen = Seen(seen.document, error)


def _daemon(options: Options) -> str:
    leader = read_leader(options.state_dir)
    if leader is None:
        return "no daemon"
    since = leader.get("since")
    age = f", for {_duration(time.time() - since)}" if isinstance(since, int | float) else ""
    return f"daemon {leader.get('pid')}{age}"


# -- lines -----------------------------------------------------------------------------------


def _print_documents(scenes: Iterator[Scene]) -> None:
    last: Document | None = None
    for scene in scenes:
        if scene.seen.document != last:
            last = scene.seen.document
            click.echo(json.dumps(last, ensure_ascii=False))


def _print_changes(scenes: Iterator[Scene]) -> None:
    shown: dict[str, str] = {}
    for scene in scenes:
        lines = {entry["name"]: _line(entry) for entry in scene.apps}
        lines[""] = "; ".join(_troubles(scene.seen)) or "all is well"
        for name in [*lines, *(shown.keys() - lines.keys())]:
            text = lines.get(name, "gone")
            if text != shown.get(name, "all is well" if name == "" else None):
                click.echo(f"{iso(scene.now)} {f'{name}: ' if name else ''}{text}")
        shown = lines


def _line(entry: Document) -> str:
    return f"{status_of(entry)}, {entry['health']}: {note_of(entry)}"


def _troubles(seen: Seen) -> list[str]:
    """What is wrong beside single apps, each in one line."""
    configuration = seen.document["configuration"]
    found = [str(seen.away).splitlines()[0]] if seen.away else away_of(seen)
    if configuration["problem"]:
        found.append(f"not up to date: {' '.join(configuration['problem'].split())}")
    return found


# -- screen ----------------------------------------------------------------------------------


def _show(scenes: Iterator[Scene]) -> None:
    import os

    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=True if "NO_COLOR" in os.environ else None)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for scene in scenes:
            live.update(draw(scene, console.height), refresh=True)


def draw(scene: Scene, height: int) -> Group:
    """The whole screen, for so many lines."""
    from rich.console import Group

    configuration = scene.seen.document["configuration"]
    place = configuration["place"]
    if configuration["revision"]:
        place += f" at {configuration['revision'][:7]}"
    counts = _counts(scene.apps)
    lines: list[Text | Table] = [_cut(f"{place}  {scene.daemon}  {counts}", "bold")]
    lines += [_cut(f"! {text}", "red") for text in _troubles(scene.seen)]
    room = max(1, height - HEAD_LINES)
    chosen = _choose(scene.apps, room)
    lines.append(_table(scene, chosen))
    hidden = len(scene.apps) - len(chosen)
    if hidden:
        lines.append(_cut(f"… and {hidden} more", "dim"))
    return Group(*lines)


def _cut(text: str, style: str) -> Text:
    """One line, never wrapped."""
    from rich.text import Text

    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _counts(apps: Sequence[Document]) -> str:
    words = ("running", "error", "done", "idle")
    counted = {word: sum(entry["status"] == word for entry in apps) for word in words}
    return ", ".join(f"{count} {word}" for word, count in counted.items() if count) or "no apps"


def _choose(apps: Sequence[Document], room: int) -> list[Document]:
    """As many as there is room for, in their order; what moves or is broken before the rest."""
    ranked = sorted(apps, key=lambda entry: entry["status"] not in ("running", "error"))
    kept = {entry["name"] for entry in ranked[:room]}
    return [entry for entry in apps if entry["name"] in kept]


def _table(scene: Scene, apps: Sequence[Document]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from reconciler.plan.changing import short

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    host = ("HOST",) if are_elsewhere(scene.apps) else ()
    for name in ("APP", "STATUS", "HEALTH", *host, "REVISION", "RUNNING"):
        table.add_column(name, no_wrap=True)
    table.add_column("STAGES, CAUSE", no_wrap=True, overflow="ellipsis", ratio=1)
    for entry in apps:
        stages = _stages(scene.stages.get(entry["name"], ()), scene.now)
        table.add_row(
            entry["name"],
            Text(entry["status"], COLOURS.get(entry["status"], "")),
            Text(entry["health"], COLOURS.get(entry["health"], "")),
            *((host_of(entry),) if host else ()),
            entry["revision"] or "-",
            short(entry["running_revision"]) or "-",
            f"{stages}  {note_of(entry)}" if stages else note_of(entry),
        )
    return table


def _stages(stages: Sequence[Stage], now: float) -> str:
    """`clone 0.4s ▸ build 12.0s …`, the one that runs with the time so far."""
    words = []
    for stage in stages:
        if stage.status == "running":
            words.append(f"{stage.name} {_duration(now - stage.started_at)} …")
        elif stage.status != "skipped":
            words.append(f"{stage.name} {_duration(stage.seconds or 0.0)}")
    return " ▸ ".join(words)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
