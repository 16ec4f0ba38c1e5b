"""What is printed is whole, true, and says what to do next."""

from __future__ import annotations

import pytest
from rich.console import Console

from reconciler.cli import run
from reconciler.cli.progress import _Live
from reconciler.events import Event


def test_live_table_long_line_leaves_app_and_stage_whole() -> None:
    live = _Live()
    reason = "not healthy within 4s: nothing listens on port 9999, but on 8000 " * 3
    end = {"outcome": "failed", "reason": reason, "seconds": 4.2}
    live.listen(Event("finished", "shop/api", "1a", end))
    live.listen(Event("stage", "shop/web", "1b", {"stage": "build", "status": "running"}))
    console = Console(width=60)
    with console.capture() as shown:
        console.print(live._draw())
    lines = shown.get().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("shop/api  failed")
    assert lines[0].rstrip().endswith("…")
    assert lines[1].startswith("shop/web  build")


def test_option_before_the_command_says_where_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--state-dir", "/tmp", "plan"]) == 64
    assert "after the command" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--nope", "--follow"])
def test_unknown_option_of_a_command_has_no_such_hint(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", option]) == 64
    assert "after the command" not in capsys.readouterr().err
