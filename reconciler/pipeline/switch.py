"""Stage `switch`: the new containers take the app's traffic; with `canary`, in steps.

While a step lasts, the new containers are watched as after a switch, and their answers are counted
by the proxy. Too many errors, or a container that fails, end the deployment: the caller gives the
traffic back.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from reconciler.errors import HealthError
from reconciler.pipeline import deploy, traffic
from reconciler.pipeline.context import Context
from reconciler.pipeline.watch import keep_watch
from reconciler.queue import StageResult
from reconciler.runtime.proxy import Counters, ServerState
from reconciler.spec.scalars import seconds, share

MEANINGFUL_REQUESTS = 20
"""Before a step has ended, fewer requests than this say nothing."""
AT_ONCE = ("heal", "scale", "move")
"""Kinds that bring nothing new, whose traffic needs no steps."""


def wanted(context: Context) -> bool:
    """Only for apps that the proxy leads to."""
    return context.app.expose is not None


def skip(context: Context) -> str:
    """Nothing was deployed, nothing to switch."""
    return deploy.skip(context)


def run(context: Context) -> StageResult:
    """Give the new containers all the traffic. Raises `HealthError` when they fail on the way."""
    crew = traffic.observe(context)
    data: dict[str, object] = {}
    if context.app.strategy == "canary" and crew.old and context.request.kind not in AT_ONCE:
        data["canary"] = _shift_in_steps(context, crew)
    traffic.give(context, crew.new)
    context.job.log("the new version has the traffic")
    return StageResult(data=data)


def _shift_in_steps(context: Context, crew: traffic.Crew) -> str:
    rollout = context.app.rollout
    tally = Tally([replica.id for replica in crew.new])
    for step in rollout.steps:
        traffic.split(context, crew, share(step))
        context.job.log(f"the new version has {step} of the traffic for {rollout.pause}")
        check = functools.partial(_check_errors, context, tally, step)
        keep_watch(context, seconds(rollout.pause), check)
        check(least=1)
        context.job.log(f"at {step}: {tally.said}")
    return tally.said


def _check_errors(
    context: Context, tally: Tally, step: str, least: int = MEANINGFUL_REQUESTS
) -> None:
    limit = context.app.rollout.max_error_rate
    tally.add(traffic.proxy_of(context).look(context.name))
    if tally.requests >= least and tally.rate > share(limit):
        raise HealthError(
            f"at {step} of the traffic {tally.said}, more than {limit}",
            app=context.name,
            todo="Find out why the new version answers errors, or raise rollout.max_error_rate.",
        )


@dataclass
class Tally:
    """What some servers have answered since the first look, across reloads of the proxy.

    A connection that a server didn't take counts as a request and as an error.
    """

    containers: Collection[str]
    requests: int = 0
    errors: int = 0
    _last: dict[str, Counters] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def said(self) -> str:
        """`3 of 120 requests failed (2.5%)`."""
        return f"{self.errors} of {self.requests} requests failed ({self.rate:.1%})"

    def add(self, states: Sequence[ServerState]) -> None:
        """Count what came since the last time; counters that fell have begun again at 0."""
        for state in states:
            if state.server.container not in self.containers:
                continue
            now = state.counters
            before = self._last.get(state.server.container, Counters())
            if now.requests < before.requests or now.errors < before.errors:
                before = Counters()
            refused = max(now.connect_errors - before.connect_errors, 0)
            self.requests += now.requests - before.requests + refused
            self.errors += now.errors - before.errors + refused
            self._last[state.server.container] = now
