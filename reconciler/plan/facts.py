"""From an app's spec to facts: flat, named, comparable. Only what is set becomes a fact, so that
new fields of later versions change no hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.plan.states import Facts
from reconciler.spec.declare import Section, default_of, fields_of
from reconciler.spec.models import App, ImageSource, Swarm
from reconciler.spec.plain import to_plain

RUN_FIELDS = (
    "command",
    "entrypoint",
    "user",
    "workdir",
    "ports",
    "volumes",
    "networks",
    "labels",
    "resources",
    "restart",
    "stop_grace_period",
)
NONE: Mapping[str, str] = {}
SWARM_FIELDS = (
    "mode",
    "constraints",
    "spread",
    "max_per_node",
    "endpoint_mode",
    "publish",
    "reserve",
)
"""Of the section `swarm`, what the tasks are made of; the rest says how they are replaced."""
SETTING_FIELDS = (
    "title",
    "expose",
    "health",
    "rollout",
    "hooks",
    "retention",
    "timeouts",
    "replicas",
    "runtime",
    "host",
)

_encode = json.JSONEncoder(ensure_ascii=False).encode


def _defaults(section: type, names: Iterable[str]) -> dict[str, Any]:
    return {name: default_of(section, name) for name in names}


_BUILD = _defaults(App, ["build"])
_RUN, _SETTINGS = _defaults(App, RUN_FIELDS), _defaults(App, SETTING_FIELDS)
_SWARM_RUN = _defaults(Swarm, SWARM_FIELDS)
_SWARM_SETTINGS = _defaults(Swarm, fields_of(Swarm).keys() - {*SWARM_FIELDS, "secrets"})


def build_facts(app: App, content: Mapping[str, str], env: Mapping[str, str]) -> Facts:
    """What the image is made of.

    `content` is the source's fingerprint: path → content id, or for an image source
    `{"image": reference with digest}`. `env` counts only with `env_file`.
    """
    facts = {f"source.{path}": content_id for path, content_id in content.items()}
    if isinstance(app.source, ImageSource):
        return facts
    facts.update(_set_fields(app, _BUILD))
    if app.env_file:
        facts.update({f"env_file.{name}": value for name, value in env.items()})
    return facts


def run_facts(app: App, env: Mapping[str, str], secrets: Mapping[str, str] = NONE) -> Facts:
    """What the container is made of, beside its image.

    `env`: values, secrets as fingerprints; `secrets`: fingerprints of those of a Swarm, by name.
    """
    facts = {f"env.{name}": value for name, value in env.items()}
    facts.update(_set_fields(app, _RUN))
    if app.swarm:
        facts.update(_set_fields(app.swarm, _SWARM_RUN, "swarm."))
    facts.update({f"swarm.secrets.{name}": value for name, value in secrets.items()})
    return facts


def setting_facts(app: App) -> Facts:
    """What only this program reads; a change is recorded and restarts nothing."""
    facts = dict(_set_fields(app, _SETTINGS))
    if app.swarm:
        facts.update(_set_fields(app.swarm, _SWARM_SETTINGS, "swarm."))
    return facts


def _set_fields(
    section: Section, defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Facts of the fields that aren't as they are by default."""
    values = vars(section)
    for name, default in defaults.items():
        value = values[name]
        if value is not default and value != default:
            yield from _flatten(prefix + name, value)


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Section):
        value = to_plain(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}", inner)
    else:
        yield prefix, value if isinstance(value, str) else _encode(value)


def describe_changes(old: Facts, new: Facts) -> list[str]:
    """`env.LOG_LEVEL changed`, `ports added`, in the order of their names; never a value."""
    if old == new:
        return []
    causes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            causes.append(f"{name} removed")
        elif name not in old:
            causes.append(f"{name} added")
        elif old[name] != new[name]:
            causes.append(f"{name} changed")
    return causes
