"""Why a new container isn't healthy, as one error each that says what to do. Pure.

exited        its process ended, and nothing starts it again
crash loop    its process ends again and again
out of memory the kernel killed it
wrong port    it runs, and nothing listens where the check asks
answered      something listens, and says no
unhealthy     the image's own HEALTHCHECK says so
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from reconciler.errors import HealthError
from reconciler.pipeline.probes import Answer, Probe
from reconciler.runtime.base import InstanceState
from reconciler.runtime.proc_net import is_loopback
from reconciler.values import frozen

Listening = Sequence[tuple[str, int]]

_SHELL_CODES = {126: "its command can't be executed", 127: "its command isn't in the image"}
_LAST_WORDS = "See its last lines in the log; correct the app, or its command, env or volumes."


@frozen
class Story:
    """What was seen so far. `restarts` since the check began, `seconds` as well.

    `last` is the state when its process ended most recently, or the one now.
    """

    app: str
    last: InstanceState
    restarts: int
    seconds: float
    lines: Sequence[str] = ()

    def error(self, what: str, todo: str) -> HealthError:
        """With the container's last lines as detail."""
        return HealthError(what, app=self.app, todo=todo, detail="\n".join(self.lines))


def exited(story: Story) -> HealthError:
    """The process ended and stays ended."""
    if story.last.oom_killed:
        return _out_of_memory(story, "")
    if story.last.error:
        return story.error(f"the container failed: {story.last.error}", _LAST_WORDS)
    what = f"the container {_describe_code(story.last.exit_code)} after {story.seconds:.1f} s"
    if story.last.exit_code == 0:
        return story.error(what, "Its command has to keep running in the foreground.")
    return story.error(what, _LAST_WORDS)


def crash_loop(story: Story) -> HealthError:
    """The process ended and was started again too often."""
    often = f"{story.restarts} restarts in {story.seconds:.1f} s"
    if story.last.oom_killed:
        return _out_of_memory(story, f", {often}")
    code = _describe_code(story.last.exit_code)
    what = f"the container is in a crash loop: it {code}, {often}"
    if story.last.exit_code == 0:
        return story.error(what, "Its command has to keep running in the foreground.")
    return story.error(what, _LAST_WORDS)


def _out_of_memory(story: Story, often: str) -> HealthError:
    limit = story.last.memory_limit
    if not limit:
        what = f"the container was killed because the host ran out of memory{often}"
        return story.error(what, "Free memory on the host, or set a limit in resources.memory.")
    what = (
        f"the container was killed for using more memory than its limit of "
        f"{format_size(limit)} (out of memory){often}"
    )
    return story.error(what, "Raise resources.memory, or make the app use less.")


def unhealthy(story: Story) -> HealthError:
    """The engine ran the image's HEALTHCHECK and gave up on it."""
    output = story.last.health_output
    said = f": {output.splitlines()[-1]}" if output else ""
    return story.error(
        f"the image's HEALTHCHECK says unhealthy{said}",
        "Correct the app or the HEALTHCHECK of its Dockerfile, or set a check in `health`.",
    )


def never_stable(story: Story, stable: str) -> HealthError:
    """Without any check: it never ran for long enough, and neither ended nor crashed in a loop."""
    return story.error(
        f"the container did not run for {stable} without a break, and is {story.last.status} now",
        _LAST_WORDS,
    )


def timed_out(
    story: Story, limit: str, probe: Probe, answer: Answer, listening: Listening
) -> HealthError:
    """The time is over; `answer` is the last one. `listening`: sockets inside, where known."""
    what = f"not healthy within {limit}: {probe.name} {answer.said}"
    if story.restarts:
        often = "once" if story.restarts == 1 else f"{story.restarts} times"
        seen = story.last.status == "restarting"  # the engine forgets the code at the restart
        why = f" ({_describe_code(story.last.exit_code)})" if seen else ""
        what += f"; it was restarted {often}{why}"
    if answer.kind == "unreachable":
        return story.error(what, f"Publish port {probe.port} in `ports`, or use health.command.")
    if answer.kind != "refused":
        return story.error(what, "Correct what it answers, or raise health.timeout.")
    hint, todo = _explain_refusal(probe.port, listening)
    return story.error(what + hint, todo)


def _explain_refusal(port: int, listening: Listening) -> tuple[str, str]:
    here = [address for address, number in listening if number == port]
    if here and all(map(is_loopback, here)):
        return (
            f"; it listens on {here[0]}:{port} only, which nothing outside the container reaches",
            "Make the app listen on 0.0.0.0.",
        )
    others = sorted({number for _, number in listening if number != port})
    if not others:
        return (
            f"; nothing listens on port {port}, and the container runs",
            f"Make the app listen on port {port}, correct the port in `health`, or raise "
            "health.timeout if it is still starting.",
        )
    names = ", ".join(map(str, others))
    return (
        f"; nothing listens on port {port}, but on {names}",
        f"Correct the port in `health` (and `ports`), or make the app listen on {port}.",
    )


def _describe_code(code: int) -> str:
    """`exited with code 137 (SIGKILL)`."""
    if code in _SHELL_CODES:
        return f"exited with code {code} ({_SHELL_CODES[code]})"
    try:
        name = f" ({signal.Signals(code - 128).name})" if code > 128 else ""
    except ValueError:
        name = ""
    return f"exited with code {code}{name}"


def format_size(size: int) -> str:
    """Bytes as the spec writes them: `512m`, `1g`."""
    for unit, suffix in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
