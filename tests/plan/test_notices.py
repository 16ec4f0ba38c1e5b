"""What is told: one message for each change of an app's state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.actions import Action
from reconciler.plan.notices import WELL, Last, Standing, Told, decide, stand, write_message

APP = "shop/api"
FAILED = Last("d1", "failed", "v1:a", "health", "main = 1a2b3c4", "env.A changed", "it exited")
SOON = datetime(2026, 1, 31, tzinfo=UTC)


def act(kind: str, cause: str = "", **more: object) -> tuple[Action, ...]:
    return (Action(APP, kind, (cause,), **more),)  # type: ignore[arg-type]


PASSING = act("block", "git.example.com doesn't answer", passing=True)
QUARANTINE = act("quarantine", "failed before (d1): it exited", todo="Push something.")


FLAPPING = act("wait", "healed 5 times", until=SOON, lasting=True, todo="Look at its output.")
HEALED = Last("d9", "succeeded")


def told_of(*moments: Any) -> list[str]:
    """The messages for what a daemon sees one after the other; a number lets time pass."""
    told, now, messages = WELL, 1000.0, []
    for moment in moments:
        now += 60.0
        if isinstance(moment, float):
            now += moment
            continue
        actions, last, *flaps = moment
        standing = stand(APP, actions, last, flaps=any(flaps))
        if standing is not None:
            told, event = decide(told, standing, now)
            messages += [event] if event else []
    return messages


@pytest.mark.parametrize(
    ("moments", "messages"),
    [
        ([((), None), ((), replace(FAILED, outcome="succeeded"))], []),
        # the deployment fails, later passes find it in quarantine, then a commit mends it
        (
            [
                (act("deploy"), FAILED),
                (QUARANTINE, FAILED),
                (QUARANTINE, FAILED),
                (act("deploy"), replace(FAILED, id="d2", outcome="")),
                (act("deploy"), replace(FAILED, id="d2", outcome="succeeded")),
                ((), replace(FAILED, id="d2", outcome="succeeded")),
            ],
            ["failed", "recovered"],
        ),
        # healed in vain, left alone, healed again, left alone for longer, then it works
        (
            [
                (act("heal"), replace(FAILED, outcome="succeeded")),
                (act("wait", "healed 5 times", until=SOON, lasting=True), None),
                (act("heal"), replace(FAILED, outcome="")),
                (act("wait", "broken after 1 pauses", until=SOON, lasting=True), None),
                ((), replace(FAILED, outcome="succeeded")),
            ],
            ["failed", "recovered"],
        ),
        # what it depends on waits for a window
        ([(act("wait", "waits for db", until=SOON, lasting=True, after=("shop/db",)), None)], []),
        # tried again for the same reason, at another time of the day
        (
            [
                (act("deploy"), replace(FAILED, reason="exited after 1.2 s")),
                (act("wait", until=SOON), replace(FAILED, reason="exited after 1.2 s")),
                (act("deploy"), replace(FAILED, id="d2", reason="exited after 3 s")),
            ],
            ["failed"],
        ),
        # another commit fails as well, and in another way
        (
            [
                (act("deploy"), FAILED),
                (act("deploy"), replace(FAILED, id="d2", target="v1:b", outcome="rolled_back")),
            ],
            ["failed", "rolled_back"],
        ),
        # the commit is taken back: what serves is what is wanted
        ([(act("deploy"), FAILED), ((), FAILED)], ["failed", "recovered"]),
        # a host that is away for a moment, and one that stays away
        ([(PASSING, None), ((), None), (PASSING, None), (PASSING, None)], []),
        ([(PASSING, None), 300.0, (PASSING, None), (PASSING, None), ((), None)],
         ["failed", "recovered"]),
        ([(act("block", "no such branch"), None)], ["failed"]),
        # away in the middle of a failure: still the failure that was told
        (
            [(act("deploy"), FAILED), (PASSING, FAILED), (QUARANTINE, FAILED), ((), None)],
            ["failed", "recovered"],
        ),
        # holds
        ([(act("hold", "on holiday"), None), (act("hold", "on holiday"), None), ((), None)],
         ["held"]),
        ([(act("deploy"), FAILED), (act("hold", "looking at it"), FAILED), (QUARANTINE, FAILED)],
         ["failed", "held"]),
        ([(QUARANTINE, replace(FAILED, outcome="cancelled")), (QUARANTINE, FAILED)],
         ["held", "failed"]),
        # healed again and again: that it runs for a moment is no recovery
        ([(FLAPPING, HEALED), (act("heal"), HEALED, True), ((), HEALED, True), (FLAPPING, HEALED)],
         ["failed"]),
        ([(FLAPPING, HEALED), ((), HEALED, False)], ["failed", "recovered"]),
        ([(act("wait", "waits for db, which failed", after=("shop/db",)), None)], []),
        # not told: what a person did, and what is gone from the spec
        ([(act("deploy"), replace(FAILED, outcome="killed"))], []),
        ([(act("keep", "gone from the spec"), None)], []),
        ([(act("record", "revision"), None), (act("clean", "leftover"), FAILED)], []),
    ],
)  # fmt: skip
def test_messages_one_for_each_change(moments: list[Any], messages: list[str]) -> None:
    assert told_of(*moments) == messages


STANDINGS = st.sampled_from(
    [Standing(), Standing("a", "failed"), Standing("b", "rolled_back"), Standing("c", "held")]
)


@given(st.lists(STANDINGS))
def test_messages_never_for_what_stays_and_recovered_only_after_bad(seen: list[Standing]) -> None:
    told, bad = WELL, False
    for now, standing in enumerate(seen):
        told, event = decide(told, standing, float(now))
        assert decide(told, standing, now + 1.0) == (told, None)
        assert event != "recovered" or bad
        bad = bool(standing.key) and (bad or standing.event in ("failed", "rolled_back"))
    assert (told == WELL) == (not seen or not seen[-1].key)


def test_message_says_revision_cause_reason_and_what_to_do() -> None:
    standing = Standing("k", "failed", 0.0, "it exited", "Look at its output.", FAILED)
    title, body = write_message("failed", [APP], standing)
    assert title == "shop/api failed"
    assert body.splitlines() == [
        "revision: main = 1a2b3c4",
        "cause: env.A changed",
        "reason: it exited",
        "to do: Look at its output.",
        "deployment: d1",
        "log: reconcile logs api",
    ]


def test_message_of_several_apps_with_one_reason() -> None:
    standing = Standing("k", "failed", 0.0, "git.example.com doesn't answer", "Wait.")
    title, body = write_message("failed", [APP, "shop/web"], standing)
    assert title == "2 apps of shop failed"
    assert body.startswith("apps: shop/api, shop/web\nreason: git.example.com")


def test_told_since_is_the_first_sight() -> None:
    first, _ = decide(WELL, Standing("a", "failed", 300.0), 10.0)
    assert first == Told("a", "", 10.0)
    assert decide(first, Standing("a", "failed", 300.0), 200.0)[0].since == 10.0
