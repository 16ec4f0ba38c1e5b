"""Light requests to a real engine, and to what isn't one."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.errors import Cancelled, EngineUnavailable
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.stream import Message, Opening, Refusal, stream
from tests.support.engine import PrivateEngine


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[Engine]:
    """An engine that gives each connection one answer, whatever it was asked, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Engine(f"unix://{path}")
        finally:
            thread.join(10)


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def test_engine_get(engine: PrivateEngine) -> None:
    assert Engine(engine.url).get("/info")["ID"]


def test_engine_get_with_a_query(engine: PrivateEngine, project: str) -> None:
    made = engine.docker("create", "--label", f"x={project}", "busybox:stable")
    query = {"all": "1", "filters": json.dumps({"label": [f"x={project}"]})}
    assert [entry["Id"] for entry in Engine(engine.url).get("/containers/json", query)] == [made]


def test_engine_get_refused(engine: PrivateEngine) -> None:
    with pytest.raises(EngineUnavailable, match="404: No such container: nobody"):
        Engine(engine.url).get("/containers/nobody/json")


def test_engine_send_tells_status_headers_and_message(engine: PrivateEngine) -> None:
    api = Engine(engine.url)
    ping = api.send(Request("GET", "/_ping"))
    assert (ping.ok, ping.headers["ostype"], ping.body) == (True, "linux", b"OK")
    refused = api.send(Request("DELETE", "/images/nothing:here"))
    assert (refused.ok, refused.status) == (False, 404)
    assert refused.message == "No such image: nothing:here"


def test_engine_send_quotes_paths_and_repeats_names() -> None:
    request = Request("POST", "/images/a b/tag?x", {"t": ["a:1", "b:2"], "pull": "1"})
    assert request.target == "/images/a%20b/tag%3Fx?t=a%3A1&t=b%3A2&pull=1"


def test_engine_with_a_body_that_is_no_json(tmp_path: Path) -> None:
    with answering(tmp_path / "s", head("502 Bad Gateway", "Content-Length: 4") + b"oops") as api:
        assert api.send(Request("GET", "/")).message == "oops"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:9", "Connection refused"),
        ("http2://host", "isn't supported"),
        ("tcp://", "isn't supported"),
    ],
)
def test_engine_that_cannot_be_reached(url: str, words: str) -> None:
    with pytest.raises(EngineUnavailable, match=words) as caught:
        Engine(url).get("/info")
    assert "DOCKER_HOST" in caught.value.todo


def test_engine_that_hangs_up(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b"") as api, pytest.raises(EngineUnavailable):
        api.get("/info")


def test_engine_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert Engine().url == "unix:///elsewhere.sock"
    assert Engine("unix:///own.sock").url == "unix:///own.sock"
    monkeypatch.delenv("DOCKER_HOST")
    assert Engine().url == "unix:///var/run/docker.sock"


def test_stream_messages_of_an_answer(engine: PrivateEngine, project: str) -> None:
    """Events are a stream like the others, and real."""
    name = f"{project}-c"
    engine.docker("create", "--name", name, "busybox:stable")
    query = {"since": "1", "until": "9999999999", "filters": json.dumps({"container": [name]})}
    taken: list[Message] = []
    job = Job("shop/api")

    def take(message: Message) -> None:
        taken.append(message)
        job.cancel.cancel(Cancelled("enough"))

    with pytest.raises(Cancelled, match="enough"):
        stream(Engine(engine.url), Request("GET", "/events", query), job, take)
    assert taken[0]["Action"] == "create"


CHUNKED = head("200 OK", "Transfer-Encoding: chunked")


def chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


def test_stream_message_in_pieces(tmp_path: Path) -> None:
    body = chunk('{"stream": "o') + chunk('ne"}\r\n\r\n{"str') + chunk('eam": "two"}\r\n')
    taken: list[Message] = []
    with answering(tmp_path / "s", CHUNKED + body + chunk("")) as api:
        stream(api, Request("POST", "/build"), Job(), taken.append)
    assert taken == [{"stream": "one"}, {"stream": "two"}]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        CHUNKED,
        CHUNKED + chunk('{"stream": "x"}\r\n'),
        CHUNKED + b"ff\r\n{",
        head("500 Oh", "Content-Length: 100") + b"{",
    ],
    ids=["nothing", "head", "between", "within", "refusing"],
)
def test_stream_that_breaks_off(tmp_path: Path, answer: bytes) -> None:
    with (
        answering(tmp_path / "s", answer) as api,
        pytest.raises(EngineUnavailable, match="in the middle of /build") as caught,
    ):
        stream(api, Request("POST", "/build"), Job("shop/api"), lambda _: None)
    assert caught.value.app == "shop/api"


def test_stream_slow_to_begin(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        engine, opening = Engine(f"unix://{tmp_path}/s"), Opening(patience=0.05)
        with pytest.raises(EngineUnavailable, match="timed out"):
            stream(engine, Request("GET", "/events"), Job(), print, opening)


def test_stream_refused_before_it_begins(engine: PrivateEngine) -> None:
    request = Request("POST", "/images/create", {"fromImage": "127.0.0.1:9/x", "tag": "1"})
    with pytest.raises(Refusal, match="connection refused") as caught:
        stream(Engine(engine.url), request, Job(), lambda _: None)
    assert caught.value.status >= 400


def test_stream_refused_in_the_middle(tmp_path: Path) -> None:
    body = chunk('{"errorDetail": {"code": 3, "message": "m"}, "error": "it broke\\n"}\n')
    with (
        answering(tmp_path / "s", CHUNKED + body + chunk("")) as api,
        pytest.raises(Refusal, match="it broke") as caught,
    ):
        stream(api, Request("POST", "/build"), Job(), lambda _: None)
    assert (caught.value.text, caught.value.code) == ("it broke", 3)


def test_stream_refused_before_the_body_was_read(
    engine: PrivateEngine, wait_until: Callable[..., object]
) -> None:
    """The engine answers and hangs up while megabytes are still on their way."""
    body = (b"x" * 1_000_000 for _ in range(50))
    request = Request("POST", "/build", {"t": "NOT valid"}, body=body)
    with pytest.raises(Refusal, match="invalid reference format"):
        stream(Engine(engine.url), request, Job(), lambda _: None)


def test_stream_fault_of_the_reader_is_not_the_engines(engine: PrivateEngine) -> None:
    def take(message: Message) -> None:
        raise OSError("the log's disk is full")

    request = Request("GET", "/events", {"since": "1"})
    engine.docker("rm", engine.docker("create", "busybox:stable"))
    with pytest.raises(OSError, match="the log's disk is full"):
        stream(Engine(engine.url), request, Job(), take)
