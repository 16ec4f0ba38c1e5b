"""Each reason's words, from what was seen. Pure."""

from pathlib import Path

import pytest

from reconciler.pipeline import health_reasons
from reconciler.pipeline.health_reasons import Story, format_size
from reconciler.pipeline.probes import Answer, CommandProbe
from reconciler.runtime.base import InstanceState
from reconciler.testing import FakeRuntime
from tests.runtime.bench import FakeBench


def story(restarts: int = 0, **state: object) -> Story:
    fields = {"status": "exited", **state}
    return Story("shop/api", InstanceState(**fields), restarts, 1.25, ("one", "two"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "exited with code 1 after 1.2 s"),
        (126, "exited with code 126 (its command can't be executed)"),
        (127, "exited with code 127 (its command isn't in the image)"),
        (137, "exited with code 137 (SIGKILL)"),
        (139, "exited with code 139 (SIGSEGV)"),
        (143, "exited with code 143 (SIGTERM)"),
        (255, "exited with code 255 after"),
    ],
)
def test_exit_code_and_what_it_means(code: int, words: str) -> None:
    error = health_reasons.exited(story(exit_code=code))
    assert words in error.what
    assert (error.app, error.detail) == ("shop/api", "one\ntwo")
    assert error.todo


def test_engine_error_of_a_container() -> None:
    error = health_reasons.exited(story(error="cgroup is gone"))
    assert error.what == "the container failed: cgroup is gone"


def test_out_of_memory_of_the_host() -> None:
    error = health_reasons.exited(story(exit_code=137, oom_killed=True))
    assert "the host ran out of memory" in error.what


def test_crash_loop_of_a_command_that_ends() -> None:
    error = health_reasons.crash_loop(story(restarts=3, exit_code=0))
    assert error.what.endswith("it exited with code 0, 3 restarts in 1.2 s")
    assert "foreground" in error.todo


@pytest.mark.parametrize(
    ("restarts", "status", "words"),
    [
        (0, "running", "was busy"),
        (1, "running", "was busy; it was restarted once"),
        (2, "restarting", "was busy; it was restarted 2 times (exited with code 9)"),
    ],
)
def test_timeout_with_restarts(tmp_path: Path, restarts: int, status: str, words: str) -> None:
    bench = FakeBench(FakeRuntime(), "shop", tmp_path)
    probe = CommandProbe(bench.deploy(bench.workload()), ("check",), "the command check")
    seen = story(restarts, status=status, exit_code=9)
    error = health_reasons.timed_out(seen, "1s", probe, Answer("failed", "was busy"), ())
    assert error.what == f"not healthy within 1s: the command check {words}"


@pytest.mark.parametrize(
    ("size", "text"),
    [(512 << 20, "512m"), (1 << 30, "1g"), (1536 << 20, "1536m"), (6144, "6k"), (1000, "1000")],
)
def test_sizes_as_in_the_spec(size: int, text: str) -> None:
    assert format_size(size) == text
