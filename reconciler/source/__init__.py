"""Where apps come from. A new kind is one module here, one line below, one model in the spec.

    SOURCES[kind_of(app.source)](workplace)   the source of one app
    resolve_all(workplace, wanted, job)       which version each app's revision names now
    fingerprint_all(workplace, versions, job) what each app's source contains at that version

git, docker and the registry client are imported by what needs them, not here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from reconciler.errors import ReconcilerError
from reconciler.host.job import Job
from reconciler.source.base import (
    Content,
    MakeSource,
    Outcome,
    Source,
    Version,
    Wanted,
    Workplace,
)
from reconciler.source.fanout import ask_all, take
from reconciler.spec import models


def _git(workplace: Workplace) -> Source:
    from reconciler.source.git import GitSource

    return GitSource(workplace)


def _path(workplace: Workplace) -> Source:
    from reconciler.source.path import PathSource

    return PathSource(workplace)


def _image(workplace: Workplace) -> Source:
    from reconciler.source.image import ImageSource

    return ImageSource(workplace)


SOURCES: Mapping[str, MakeSource] = {"git": _git, "path": _path, "image": _image}
"""Imported at first use: a spec pays only for the kinds that it names."""


def kind_of(source: models.Source) -> str:
    """The key in `SOURCES` for a spec's `source`: the name of its one required field."""
    return next(kind for kind in SOURCES if hasattr(source, kind))


def resolve_all(workplace: Workplace, wanted: Sequence[Wanted], job: Job) -> Mapping[str, Outcome]:
    """Ask the outside about every app, all kinds side by side. Raises only the job's `Stopped`.

    The answer has each app in the order of `wanted`: its version, or why there is none.
    """
    groups: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        groups[kind_of(one.source)].append(one)
    questions = {
        kind: partial(SOURCES[kind](workplace).resolve_all, group, job)
        for kind, group in groups.items()
    }
    outcomes: dict[str, Outcome] = {}
    for kind, answer in ask_all(questions, job).items():
        for one in groups[kind]:
            outcomes[one.app] = take(answer, one.app, one.app)
    return {one.app: outcomes[one.app] for one in wanted}


def fingerprint_all(
    workplace: Workplace, versions: Sequence[Version], job: Job
) -> Mapping[str, Content | ReconcilerError]:
    """Content ids of every app's source at its version. Raises only the job's `Stopped`."""
    groups: dict[str, list[Version]] = defaultdict(list)
    for wanted, resolved in versions:
        groups[kind_of(wanted.source)].append((wanted, resolved))
    questions = {
        kind: partial(SOURCES[kind](workplace).fingerprint_all, group, job)
        for kind, group in groups.items()
    }
    answers = ask_all(questions, job)
    return {
        wanted.app: take(answers[kind_of(wanted.source)], wanted.app, wanted.app)
        for wanted, _ in versions
    }
