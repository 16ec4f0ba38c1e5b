"""The daemon's log: what a line says, and what it never says."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from reconciler.daemon.logs import Format, in_journal, make_listener
from reconciler.events import Event
from reconciler.host.secrets import Redactor

EVENTS = [
    Event("queued", "shop/api", "d1", {"kind": "deploy", "cause": "env.A changed"}),
    Event("started", "shop/api", "d1", {"attempt": 2, "resumed": True}),
    Event("stage", "shop/api", "d1", {"stage": "build", "status": "done", "seconds": 1.204}),
    Event("progress", "shop/api", "d1", {"stage": "build", "text": "#5 RUN make"}),
    Event("finished", "shop/api", "d1", {"outcome": "failed", "reason": "boom", "seconds": 2}),
    Event("recorded", "shop/web", data={"cause": "revision 1 → 2 touches nothing of it"}),
]


def written(format: Format, *, debug: bool = False, secret: str = "") -> list[str]:  # noqa: A002
    stream, redactor = io.StringIO(), Redactor()
    if secret:
        redactor.learn(secret)
    log = make_listener(format, stream, redactor)
    if debug:
        log.show_debug()
    for event in EVENTS:
        log.listen(event)
    log.log("warning", "spec", "apps.yaml is\ninvalid: hunter22", problems=["a hunter22"], n=1)
    log.close()
    log.log("info", "late", "nobody reads this")
    return stream.getvalue().splitlines()


def test_text_one_line_an_event() -> None:
    lines = [line.partition(" ")[2] for line in written("text")]
    assert lines == [
        "info    shop/api d1 queued deploy: env.A changed",
        "info    shop/api d1 started again, attempt 2",
        "info    shop/api d1 build done in 1.20s",
        "error   shop/api d1 failed in 2.0s: boom",
        "info    shop/web recorded: revision 1 → 2 touches nothing of it",
        "warning apps.yaml is invalid: hunter22",
    ]


def test_json_every_line_a_document_without_the_secret() -> None:
    documents = [json.loads(line) for line in written("json", debug=True, secret="hunter22")]
    assert [one["event"] for one in documents] == [*[event.kind for event in EVENTS], "spec"]
    stage, progress, spec = documents[2], documents[3], documents[-1]
    assert stage["time"].endswith("Z")
    assert (stage["app"], stage["deployment"], stage["seconds"]) == ("shop/api", "d1", 1.204)
    assert (progress["level"], progress["text"]) == ("debug", "build | #5 RUN make")
    assert spec["problems"] == ["a *****"]
    assert spec["text"].endswith("invalid: *****")


def test_journal_adds_the_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert in_journal(stream, environ)
        assert not in_journal(stream, {"JOURNAL_STREAM": "1:2"})
    assert not in_journal(io.StringIO(), environ)


def test_journal_lines_carry_a_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log = make_listener("text", stream, Redactor())
        log.log("error", "engine", "gone")
        log.close()
        stream.seek(0)
        assert stream.read() == "<3>error   gone\n"
