"""Hashes that are compared, versioned so that an upgrade of this program restarts nothing.

build hash   what the image is made of: source trees, the build section, env with `env_file`
run hash     what the container is made of: image id and run facts
target hash  both together: what one deployment wants to reach
"""

from __future__ import annotations

import hashlib
import json

from reconciler.plan.states import DesiredApp, Facts

VERSION = "v1"


def hash_facts(kind: str, facts: Facts) -> str:
    """`v1:` and 32 hex digits over the sorted facts; `kind` keeps different uses apart."""
    document = json.dumps([kind, sorted(facts.items())], ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{VERSION}:{digest[:32]}"


def build_hash(build: Facts) -> str:
    """Same build hash, same image."""
    return hash_facts("build", build)


def run_hash(image_id: str, run: Facts) -> str:
    """Same run hash, same container."""
    return hash_facts("run", {**run, "@image": image_id})


def target_hash(app: DesiredApp) -> str:
    """What a deployment of this desired app reaches. Revisions with equal source are equal.

    What decides between success and failure counts as well: who corrects the health check of a
    deployment that failed by it is tried again.
    """
    judged = {f"@{name}": fact for name, fact in app.settings.items() if _judges(name)}
    return hash_facts("target", {**app.build, **app.run, **judged, "@push": app.push_to})


_JUDGING = ("health", "hooks", "host", "replicas", "rollout", "runtime", "swarm", "timeouts")


def _judges(setting: str) -> bool:
    return setting.partition(".")[0] in _JUDGING
