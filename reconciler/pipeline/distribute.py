"""Stage `distribute`: the image is brought from where it was made to where it shall run.

Each host that lacks it pulls it by digest, where a registry has it; else it is sent from an engine
that has it. On a Swarm the nodes pull by themselves, and all they need is a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from reconciler.errors import (
    DeployError,
    DiskFull,
    ReconcilerError,
    RegistryUnavailable,
    SourceError,
)
from reconciler.host.engine import Engine
from reconciler.host.images import image_id_of, inspect_image, pull_image
from reconciler.host.job import Job
from reconciler.host.labels import short_id
from reconciler.host.registry import split_image
from reconciler.host.travel import Parcel, full_disk_of, send_image
from reconciler.pipeline import deploy
from reconciler.pipeline.context import Context
from reconciler.pipeline.images import (
    ask_holders,
    auth_for,
    find_holder,
    find_image,
    find_reference,
    repository_of,
    tag_built,
)
from reconciler.plan.places import SWARM
from reconciler.queue import StageResult

T = TypeVar("T")
MOST_AT_ONCE = 16


def wanted(context: Context) -> bool:
    """Where it runs elsewhere than where it is made."""
    elsewhere = any(host != context.image_host for _, host in context.station.here)
    return elsewhere or context.app.runtime == SWARM


def skip(context: Context) -> str:
    """Nothing to bring when nothing is deployed, or everybody has the image."""
    reason = deploy.skip(context)
    image_id = "" if reason else find_image(context)
    if not image_id:
        return reason
    context.found.reference = reference = _find_reference(context, image_id)
    row = context.tools.store.find_deployment(context.row.id)
    if reference and row and not row.digest:  # known, whatever becomes of older deployments
        context.found.columns = {"image": reference, "digest": reference.partition("@")[2]}
    if context.app.runtime == SWARM:
        return _skip_for_nodes(context)
    hosts = dict.fromkeys(host for _, host in context.station.here)
    lacks = _side_by_side(lambda host: _lacks(context, host, image_id), tuple(hosts))
    context.found.lacking = tuple(host for host in hosts if lacks[host])
    return "" if context.found.lacking else "every host has the image"


def _find_reference(context: Context, image_id: str) -> str:
    """Also what only an engine remembers: the state may have been lost."""
    reference, image = find_reference(context, image_id), context.app.image
    if reference or image is None:
        return reference

    def known(engine: Engine) -> str | None:
        names: Sequence[str] = inspect_image(engine, image_id).get("RepoDigests") or ()
        own = split_image(image.repository)
        return next((one for one in names if split_image(repository_of(one)) == own), None)

    return ask_holders(context, known) or ""


def _lacks(context: Context, host: str, image_id: str) -> bool:
    """Whether the image isn't there. What arrived before a crash may lack its name."""
    context.tools.hosts.check(host)
    engine = context.tools.hosts.engine(host)
    found = inspect_image(engine, image_id)
    ending = short_id(context.build_hash)
    if found and not any(name.endswith(ending) for name in found.get("RepoTags") or ()):
        tag_built(context, engine, image_id)
    return not found


def run(context: Context) -> StageResult:
    """Bring it. Raises `RegistryUnavailable`, `DiskFull`, `EngineUnavailable`, `DeployError`."""
    image_id = find_image(context)
    if not image_id:
        raise DeployError("there is no image to run", app=context.name, todo="Deploy it again.")
    if context.app.runtime == SWARM:
        _check_reference(context)
        return _result(context, {})
    hosts = context.found.lacking
    failures: Mapping[str, ReconcilerError | None] = dict.fromkeys(hosts)
    if context.found.reference:
        failures = _pull(context, image_id)
    for host, failure in failures.items():
        _send(context, (image_id, host), failure)
    return _result(context, dict.fromkeys(hosts, "pulled") | dict.fromkeys(failures, "sent"))


def _result(context: Context, brought: Mapping[str, str]) -> StageResult:
    data = {"reference": context.found.reference, "hosts": dict(brought)}
    return StageResult(data=data, columns=context.found.columns)


# -- by a registry ---------------------------------------------------------------------------


def _pull(context: Context, image_id: str) -> Mapping[str, ReconcilerError]:
    """Side by side; why, for each host that couldn't get it from the registry."""
    reference = context.found.reference
    auth = auth_for(context, repository_of(reference))

    def pull(host: str) -> ReconcilerError | None:
        engine, job = context.tools.hosts.engine(host), _job_for(context, host)
        try:
            arrived = pull_image(engine, reference, auth, job)
        except (RegistryUnavailable, SourceError) as error:
            return error
        except DiskFull as error:
            raise full_disk_of(host, error) from None
        _check_arrived(context, (host, arrived), image_id)
        tag_built(context, engine, image_id)
        job.log(f"has {reference}")
        return None

    outcomes = _side_by_side(pull, context.found.lacking)
    return {host: error for host, error in outcomes.items() if error is not None}


def _job_for(context: Context, host: str) -> Job:
    return replace(context.job, log=lambda line: context.job.log(f"{host}: {line}"))


def _check_arrived(context: Context, arrived: tuple[str, str | None], image_id: str) -> None:
    host, found = arrived
    if found != image_id:
        raise DeployError(
            f"the image {short_id(image_id)} is {short_id(found or 'another')} on {host}",
            app=context.name,
            todo=f"Let the engine of {host} be of the same platform, and keep images in the same "
            "way (`docker info` says how), as the one that builds.",
        )


def _side_by_side(work: Callable[[str], T], hosts: Sequence[str]) -> dict[str, T]:
    """What it gives for each host. The first error is raised when all have ended."""
    if len(hosts) == 1:
        return {hosts[0]: work(hosts[0])}
    with ThreadPoolExecutor(min(len(hosts), MOST_AT_ONCE)) as pool:
        futures = {host: pool.submit(work, host) for host in hosts}
    return {host: future.result() for host, future in futures.items()}


# -- from engine to engine -------------------------------------------------------------------


def _send(context: Context, what: tuple[str, str], failure: ReconcilerError | None) -> None:
    """An image to a host. Raises `failure`, why it couldn't be pulled there, when no engine has it
    either."""
    image_id, host = what
    sender = find_holder(context, image_id)
    if not sender:
        raise failure or DeployError(
            "no engine that answers has the image", app=context.name, todo="Deploy it again."
        )
    if failure is not None:
        context.job.log(f"{host} can't pull it, so it is sent: {failure.what}")
    source, target = (context.tools.hosts.engine(name) for name in (sender, host))
    size = int(inspect_image(source, image_id).get("Size", 0))
    send_image(Parcel(image_id, size, sender, host), source, target, context.job)
    _check_arrived(context, (host, image_id_of(target, image_id)), image_id)
    tag_built(context, target, image_id)


# -- for a Swarm -----------------------------------------------------------------------------


def _skip_for_nodes(context: Context) -> str:
    """What was there before needs no look at the registry: its nodes may well have it."""
    reference = context.found.reference
    if not reference:
        return ""
    context.found.auth = auth_for(context, repository_of(reference))
    return f"the nodes know {reference}" if context.request.image_id else ""


def _check_reference(context: Context) -> None:
    if not context.found.reference:
        raise DeployError(
            "the nodes of a Swarm pull their images, and no registry has this one",
            app=context.name,
            todo="Give it an image.repository that the nodes reach, with image.push: true.",
        )
    context.job.log(f"the nodes pull {context.found.reference}")
