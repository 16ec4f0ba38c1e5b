"""From the spec to desired: ask every source which version its revision names now.

Errors of one app are its `trouble` and hide nothing of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import EngineUnavailable, ReconcilerError, Transient
from reconciler.host.job import Job
from reconciler.pipeline.tools import (
    Tools,
    fingerprint,
    fingerprint_env,
    learn_urls,
    read_env,
    read_swarm_secrets,
)
from reconciler.plan.facts import build_facts, run_facts, setting_facts
from reconciler.plan.states import Desired, DesiredApp, Facts, Recorded, Serving, Trouble
from reconciler.source import fingerprint_all, resolve_all
from reconciler.source.base import Content, Outcome, Resolved, Version, Wanted
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import App, FileRef, GitSource, ImageSource, PathSource, Schedule
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.source.memory import VersionMemory

Found = tuple[Resolved, Content] | ReconcilerError


@frozen
class Target:
    """One app as desired, with everything that a request for a deployment needs."""

    app: App
    base_dir: Path
    desired: DesiredApp
    resolved: Resolved | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    error: ReconcilerError | None = None
    spec_revision: str = ""


@frozen
class Policy:
    """What the person or the daemon that runs the pass allows. `prune` None: as the spec says.

    `memory`: what a daemon knows of the sources; None asks about each. `made`: targets of the last
    pass, which the next one has as they are where nothing has changed.
    """

    prune: bool | None = None
    allow_removals: int | None = None
    retry_now: bool = False
    memory: VersionMemory | None = None
    made: dict[str, Target] = field(default_factory=dict, repr=False)


@frozen
class Resolver:
    """Turns a loaded spec into targets. `tools`, which have learned the spec, and `recorded` are
    read, nothing is changed.

    `memory`: versions that need not be asked about, where a daemon keeps them. `made`: targets of
    before, by name; those that are resolved next take their place.
    """

    tools: Tools
    loaded: LoadedSpec
    recorded: Recorded
    job: Job = field(default_factory=Job)
    memory: VersionMemory | None = None
    made: dict[str, Target] = field(default_factory=dict)

    def resolve(self, names: Iterable[str]) -> dict[str, Target]:
        """Targets of the named apps (`<project>/<name>`), by name."""
        apps = {name: self.loaded.spec.apps[name.partition("/")[2]] for name in names}
        targets = self.resolve_apps(apps, {})
        self.made.clear()
        self.made.update(targets)
        return targets

    def resolve_apps(
        self, apps: Mapping[str, App], known: Mapping[str, Resolved]
    ) -> dict[str, Target]:
        """The same for given sections; no question is asked about versions that are `known`."""
        learn_urls(apps.values(), self.tools.urls)
        wanted = {name: Wanted(name, app.source, app.revision) for name, app in apps.items()}
        asked = {name: one for name, one in wanted.items() if name not in known}
        outcomes: dict[str, Outcome] = {**known, **self._ask(asked)}
        contents = self._contents(wanted, outcomes)
        return {name: self._target(name, app, contents[name]) for name, app in apps.items()}

    def _ask(self, wanted: Mapping[str, Wanted]) -> dict[str, Outcome]:
        """What hosts say, or said the last time."""
        if self.memory is None:
            return self._ask_hosts(wanted)
        serving = {app: one.serving for app, one in self.recorded.apps.items()}
        known = self.memory.recall(wanted.values(), serving)
        news = self._ask_hosts({app: one for app, one in wanted.items() if app not in known})
        self.memory.learn([(wanted[app], outcome) for app, outcome in news.items()], serving)
        return {**known, **news}

    def _ask_hosts(self, wanted: Mapping[str, Wanted]) -> dict[str, Outcome]:
        """One question for each repository; apps are grouped by where their files are read."""
        groups: dict[Path, list[Wanted]] = defaultdict(list)
        for one in wanted.values():
            groups[self._base_dir(one)].append(one)
        outcomes: dict[str, Outcome] = {}
        for base_dir, group in groups.items():
            outcomes.update(resolve_all(self.tools.workplace(base_dir), group, self.job))
        return outcomes

    def _contents(
        self, wanted: Mapping[str, Wanted], outcomes: Mapping[str, Outcome]
    ) -> dict[str, Found]:
        """What each app's source contains; a version that serves already is known."""
        found: dict[str, Found] = {}
        groups: dict[Path, list[Version]] = defaultdict(list)
        for name, one in wanted.items():
            outcome = outcomes[name]
            if isinstance(outcome, ReconcilerError):
                found[name] = outcome
            elif content := self._known(one, outcome):
                found[name] = (outcome, content)
            else:
                groups[self._base_dir(one)].append((one, outcome))
        news = [one for group in groups.values() for one, _ in group]
        if not all(isinstance(one.source, ImageSource) for one in news):
            from reconciler.builder.backend import start_choosing

            hosts = self.tools.hosts
            with suppress(EngineUnavailable):  # something new is likely to be built
                start_choosing(hosts.engine(hosts.build_host))
        for base_dir, group in groups.items():
            answers = fingerprint_all(self.tools.workplace(base_dir), group, self.job)
            for one, resolved in group:
                answer = answers[one.app]
                found[one.app] = (
                    answer if isinstance(answer, ReconcilerError) else (resolved, answer)
                )
        return found

    def _base_dir(self, wanted: Wanted) -> Path:
        if _reads_files(wanted):
            return self.loaded.base_dir(wanted.app.partition("/")[2])
        return self.loaded.path.parent

    def _known(self, wanted: Wanted, resolved: Resolved) -> Content | None:
        made = self.made.get(wanted.app)
        if made and made.app.source is wanted.source and made.resolved == resolved:
            return made.content
        known = self.recorded.apps.get(wanted.app)
        if not (known and known.serving and known.serving.resolved == resolved.id):
            return None
        content = _recorded_content(known.serving)
        return content if content.keys() == _paths(wanted) else None

    def _target(self, name: str, app: App, found: Found) -> Target:
        base_dir = self.loaded.base_dir(name.partition("/")[2])
        try:
            if isinstance(found, ReconcilerError):
                raise found
            resolved, content = found
            secrets = self.tools.secrets(base_dir)
            env = read_env(name, app, secrets)
            kept = read_swarm_secrets(name, app, secrets)
        except ReconcilerError as error:
            trouble = Trouble(error.what, error.todo, isinstance(error, Transient))
            desired = replace(_bound(name, app), trouble=trouble)
            return Target(app, base_dir, desired, error=error)
        key = self.tools.store.fingerprint_key()
        prints = fingerprint_env(app, env, key)
        kept = {secret: fingerprint(value, key) for secret, value in kept.items()}
        made = self.made.get(name)
        if made and made.app is app and self._is_still(made, found, (prints, kept)):
            return made
        desired = replace(
            _bound(name, app),
            revision=app.revision or resolved.name,
            resolved=resolved.id,
            build=build_facts(app, content, prints),
            run=run_facts(app, prints, kept),
            settings=setting_facts(app),
            push_to=app.image.repository if app.image and app.image.push else "",
            builds=not isinstance(app.source, ImageSource),
        )
        return Target(app, base_dir, desired, resolved, content, spec_revision=self.loaded.revision)

    def _is_still(self, made: Target, found: Found, prints: tuple[Facts, Facts]) -> bool:
        """Whether the target of the same section would come out the same again. `prints`: of its
        environment, and of the secrets of a Swarm."""
        base_dir = self.loaded.base_dir(made.desired.app.partition("/")[2])
        now = (base_dir, self.loaded.revision, found)
        if now != (made.base_dir, made.spec_revision, (made.resolved, made.content)):
            return False
        env, kept = prints
        run = made.desired.run
        return all(run.get(f"env.{name}") == value for name, value in env.items()) and all(
            run.get(f"swarm.secrets.{name}") == value for name, value in kept.items()
        )


def _bound(name: str, app: App) -> DesiredApp:
    """What holds for an app whatever its version is: when, after what, under which name."""
    project, schedule = name.partition("/")[0], app.schedule
    return DesiredApp(
        app=name,
        suspended=app.suspend,
        schedule=Schedule(cron=schedule) if isinstance(schedule, str) else schedule,
        windows=app.windows,
        depends_on=tuple(f"{project}/{other}" for other in app.depends_on),
        previously=f"{project}/{app.previously}" if app.previously else "",
    )


def make_desired(loaded: LoadedSpec, targets: Mapping[str, Target], policy: Policy) -> Desired:
    """The planner's desired state."""
    return Desired(
        project=loaded.spec.project,
        apps={name: target.desired for name, target in targets.items()},
        prune=loaded.spec.prune if policy.prune is None else policy.prune,
        allow_removals=policy.allow_removals,
        retry_now=policy.retry_now,
        build_host=loaded.spec.build_host,
        hosts=frozenset({LOCAL, *loaded.spec.hosts}),
    )


def _reads_files(wanted: Wanted) -> bool:
    source = wanted.source
    if isinstance(source, PathSource):
        return True
    refs = [source.credentials.password if source.credentials else None]
    if isinstance(source, GitSource):
        refs.append(source.ssh_key)
    return any(isinstance(ref, FileRef) for ref in refs)


def _paths(wanted: Wanted) -> set[str]:
    source = wanted.source
    return {"image"} if isinstance(source, ImageSource) else {source.subdir, *source.watch}


def _recorded_content(serving: Serving) -> dict[str, str]:
    return {
        name.removeprefix("source."): value
        for name, value in serving.build.items()
        if name.startswith("source.")
    }
