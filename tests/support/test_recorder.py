"""What the recorder writes down, and that everything passes through it."""

import json
import subprocess
from pathlib import Path

from tests.support.engine import PrivateEngine, UnixConnection, docker_cli
from tests.support.system import wait_until


def _docker(url: str, engine: PrivateEngine, *argv: str, stdin: str = "", **env: str) -> str:
    return engine.docker(*argv, stdin=stdin, env={"DOCKER_HOST": url} | env)


def test_recorder_tells_reads_from_writes(engine: PrivateEngine, project: str) -> None:
    with engine.recorder() as recorder:
        _docker(recorder.url, engine, "ps")
        assert any("/containers/json" in line for line in recorder.requests)
        assert recorder.writes == []
        _docker(recorder.url, engine, "create", "--name", f"{project}-c", "busybox:stable")
        assert [line.split("?")[0].split("/", 2)[2] for line in recorder.writes] == [
            "containers/create"
        ]


def test_recorder_requests_of_one_connection(engine: PrivateEngine, project: str) -> None:
    body = json.dumps({"Image": "busybox:stable", "Labels": {"app": project}})
    with engine.recorder() as recorder:
        connection = UnixConnection(recorder.socket)
        for method, path, data in (
            ("GET", "/_ping", None),
            ("POST", "/containers/create", body),
            ("POST", "/containers/create", iter([body[:10].encode(), body[10:].encode()])),
            ("HEAD", "/_ping", None),
        ):
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status < 300
        connection.close()
        assert recorder.requests == [
            "GET /_ping",
            "POST /containers/create",
            "POST /containers/create",
            "HEAD /_ping",
        ]
    assert len(engine.containers(f"app={project}")) == 2


def test_recorder_attach_and_exec(engine: PrivateEngine, project: str) -> None:
    name = f"{project}-c"
    with engine.recorder() as recorder:
        said = _docker(
            recorder.url, engine, "run", "-i", "--rm", "busybox:stable", "cat", stdin="over stdin"
        )
        assert said == "over stdin"
        _docker(recorder.url, engine, "run", "-d", "--name", name, "busybox:stable", "sleep", "600")
        assert _docker(recorder.url, engine, "exec", "-i", name, "cat", stdin="again") == "again"
        assert any("/attach" in line for line in recorder.writes)
        assert any("/exec/" in line for line in recorder.writes)


def test_recorder_builds_with_both_builders(
    engine: PrivateEngine, project: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:stable\nRUN echo built\n")
    with engine.recorder() as recorder:
        for buildkit in ("0", "1"):
            tag = f"{project}:{buildkit}"
            argv = ("build", "--no-cache", "-t", tag, str(tmp_path))
            _docker(recorder.url, engine, *argv, DOCKER_BUILDKIT=buildkit)
            assert engine.docker("images", "-q", tag)
        assert sum("/build?" in line for line in recorder.writes) == 2


def test_recorder_client_that_leaves_an_event_stream(engine: PrivateEngine) -> None:
    with engine.recorder() as recorder:
        env = engine.env() | {"DOCKER_HOST": recorder.url}
        with subprocess.Popen([docker_cli(), "events"], env=env) as client:
            wait_until(lambda: any("/events" in line for line in recorder.requests))
            client.terminate()
    assert recorder.writes == []
