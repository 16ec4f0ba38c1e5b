"""A daemon's pass with nothing to do, over a hundred to ten thousand apps on ten hosts.

See `scale` for how it is measured. What others do on this machine only adds to a time, so each is
the best of several, and the sizes take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.benchmarks.scale import Measured, measured

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

HOSTS = 10
PASSES = {100: 10, 1_000: 4, 10_000: 1}
"""How many of each size in a round."""
ROUNDS = 8


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Measured]]:
    home = tmp_path_factory.mktemp("estates")
    with ExitStack() as stack:
        yield {
            apps: stack.enter_context(measured(home / str(apps), apps, HOSTS)) for apps in PASSES
        }


def test_pass_over_a_thousand_apps(sizes: dict[int, Measured]) -> None:
    """Under a second with every git host asked, by one list call for each host and no write."""
    costs = [sizes[1_000].run("tick") for _ in range(5)]
    assert min(one.wall for one in costs) < 1
    assert {one.lists for one in costs} == {HOSTS}
    assert {one.written for one in costs} == {0}
    assert max(one.statements for one in costs) < 20


def test_time_of_a_pass_grows_with_the_apps(
    sizes: dict[int, Measured], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten thousand apps take at most 1.2 times a hundred times what a hundred take.

    It is the time on a core that counts: lists and git are waited for, and cost what they cost.
    What a pass takes without any app is taken off, as far as a hundred and a thousand show it. With
    it, a hundred apps look dearer than they are, and ten thousand would always pass.
    """
    best = dict.fromkeys(PASSES, float("inf"))
    for _ in range(ROUNDS):
        for apps, passes in PASSES.items():
            times = [sizes[apps].run("woken").cpu for _ in range(passes)]
            best[apps] = min(best[apps], *times)
        few = (best[1_000] - best[100]) / 900
        base = max(best[100] - 100 * few, 0.0)
        growth = (best[10_000] - base) / (100 * (best[100] - base))
        with capsys.disabled():
            each = ", ".join(f"{apps:,}: {1e6 * t / apps:.0f}" for apps, t in best.items())
            print(f"\nµs an app of {each}; 10,000 take {100 * growth:.0f} % of a hundred times 100")
        if growth < 1.2:
            break
    assert growth < 1.2


def test_memory_of_ten_thousand_apps(
    sizes: dict[int, Measured], capsys: pytest.CaptureFixture[str]
) -> None:
    """The most that the process has ever had, its fake engines included; and the same with an edit
    of the spec, which is then read and validated anew beside the one in force."""
    steady = sizes[10_000].run("tick")
    spec = sizes[10_000].estate.spec
    spec.write_text(spec.read_text() + "\n")
    edited = sizes[10_000].run("woken")
    with capsys.disabled():
        print(
            f"\n10,000 apps: {steady.resident:.0f} MiB; an edit takes {edited.cpu:.1f} s, and "
            f"{edited.resident:.0f} MiB"
        )
    assert steady.resident < 250
    assert edited.resident < 400
