"""Images: which digest a revision names, asked of real registries, and pulled by a real engine."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.errors import (
    Cancelled,
    EngineUnavailable,
    ReconcilerError,
    RegistryUnavailable,
    SourceError,
)
from reconciler.host.engine import Engine
from reconciler.host.job import Job
from reconciler.host.registry import check_registry
from reconciler.source import resolve_all
from reconciler.source.base import Resolved, Wanted, Workplace
from reconciler.source.image import ImageSource
from reconciler.spec import models
from tests.source.test_git import fingerprint, version
from tests.support.engine import BASE_IMAGE, PrivateEngine
from tests.support.registry import PrivateRegistry

DIGEST = "sha256:" + "ab" * 32


def want(
    image: str, revision: str | None = None, app: str = "shop/api", **fields: object
) -> Wanted:
    return Wanted(app, models.ImageSource(image=image, **fields), revision)


def resolve(workplace: Workplace, job: Job, wanted: Wanted) -> Resolved:
    return version(resolve_all(workplace, [wanted], job)[wanted.app])


def refused(workplace: Workplace, job: Job, wanted: Wanted) -> ReconcilerError:
    outcome = resolve_all(workplace, [wanted], job)[wanted.app]
    assert isinstance(outcome, ReconcilerError)
    assert outcome.app == wanted.app
    return outcome


@pytest.fixture
def at_engine(workplace: Workplace, engine: PrivateEngine, docker_env: None) -> Workplace:
    return replace(workplace, engine=Engine(engine.url))


def make_image(engine: PrivateEngine, name: str, text: str) -> str:
    """An image of its own, whose digest differs from all others."""
    engine.docker("build", "-q", "-t", name, "-", stdin=f"FROM {BASE_IMAGE}\nLABEL text={text}\n")
    return name


@pytest.fixture
def shop(engine: PrivateEngine, registry: PrivateRegistry, project: str) -> dict[str, str]:
    """Tag → digest of the repository `<project>/api` in the open registry."""
    digests = {}
    for tag in ("latest", "1.4.0", "1.10.2", "2.0.0-rc.1", "main"):
        image = make_image(engine, f"{project}:{tag}", f"{project}-{tag}")
        digests[tag] = registry.put(f"{project}/api", tag, image)
    return digests


@pytest.fixture
def image(registry: PrivateRegistry, project: str) -> str:
    return f"{registry.address}/{project}/api"


@pytest.mark.parametrize(
    ("revision", "tag"),
    [
        (None, "latest"),
        ("main", "main"),
        (">=1.4 <2", "1.10.2"),
        ("~1.4", "1.4.0"),
        ("1.x", "1.10.2"),
    ],
)
def test_image_revision(
    at_engine: Workplace, shop: dict[str, str], image: str, job: Job, revision: str | None, tag: str
) -> None:
    wanted = want(image, revision)
    resolved = resolve(at_engine, job, wanted)
    assert resolved == Resolved(shop[tag], tag, f"{image}@{shop[tag]}")
    prints = fingerprint(at_engine, wanted, resolved, job)
    assert prints == {"image": f"{image}@{shop[tag]}"}


def test_image_digest_no_question(workplace: Workplace, job: Job) -> None:
    resolved = resolve(workplace, job, want("127.0.0.1:1/x", DIGEST))
    assert resolved == Resolved(DIGEST, DIGEST, f"127.0.0.1:1/x@{DIGEST}")


def test_image_many_apps_one_question(
    at_engine: Workplace,
    shop: dict[str, str],
    registry: PrivateRegistry,
    image: str,
    job: Job,
) -> None:
    log = registry.home / "log"
    before = len(log.read_text().splitlines())
    wanted = [want(image, "main", f"shop/m{number}") for number in range(20)]
    wanted += [want(image, ">=1", f"shop/r{number}") for number in range(20)]
    outcomes = resolve_all(at_engine, wanted, job)
    assert len({version(one).id for one in outcomes.values()}) == 2
    asked = [line for line in log.read_text().splitlines()[before:] if "/v2/" in line]
    questions = [line for line in asked if image.partition("/")[2] in line]
    assert sum("/manifests/main" in line for line in questions) <= 2  # the log tells one twice
    assert sum("/tags/list" in line for line in questions) <= 2


def test_image_pulled_once(
    at_engine: Workplace,
    engine: PrivateEngine,
    shop: dict[str, str],
    image: str,
    job: Job,
    tmp_path: Path,
) -> None:
    wanted, source = want(image, "main"), ImageSource(at_engine)
    resolved = resolve(at_engine, job, wanted)
    placed = source.place(wanted, resolved, tmp_path / "into", job)
    assert placed.context is None
    assert (
        placed.image_id
        == json.loads(engine.docker("image", "inspect", resolved.reference))[0]["Id"]
    )
    with engine.recorder() as recorder:
        again = ImageSource(replace(at_engine, engine=Engine(recorder.url)))
        assert again.place(wanted, resolved, tmp_path / "into", job) == placed
    assert recorder.writes == []
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("revision", "said"),
    [("mian", "main"), ("1.4.1", "1.4.0"), (">=3", "1.10.2"), ("nothing", "1.10.2")],
)
def test_image_revision_missing(
    at_engine: Workplace, shop: dict[str, str], image: str, job: Job, revision: str, said: str
) -> None:
    error = refused(at_engine, job, want(image, revision))
    assert isinstance(error, SourceError)
    assert image in error.what
    assert said in error.todo


def test_image_repository_missing(
    at_engine: Workplace, registry: PrivateRegistry, project: str, job: Job
) -> None:
    error = refused(at_engine, job, want(f"{registry.address}/{project}/nothing"))
    assert isinstance(error, SourceError)


def test_image_only_on_the_engine_is_no_source(
    at_engine: Workplace, engine: PrivateEngine, registry: PrivateRegistry, project: str, job: Job
) -> None:
    name = f"{registry.address}/{project}/local"
    make_image(engine, f"{name}:latest", project)
    assert isinstance(refused(at_engine, job, want(name)), SourceError)


# Accounts


@pytest.fixture
def private(
    engine: PrivateEngine, registry_auth: PrivateRegistry, project: str, docker_env: None
) -> str:
    """The name of an image in the registry that wants an account."""
    make_image(engine, f"{project}:latest", project)
    registry_auth.put(f"{project}/api", "latest", f"{project}:latest")
    return f"{registry_auth.address}/{project}/api"


def test_image_account_by_reference(
    at_engine: Workplace,
    engine: PrivateEngine,
    registry_auth: PrivateRegistry,
    private: str,
    no_docker_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    job: Job,
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", registry_auth.password)
    account = models.Credentials(
        username=registry_auth.user, password=models.EnvRef(env="REGISTRY_TOKEN")
    )
    wanted = want(private, credentials=account)
    resolved = resolve(at_engine, job, wanted)
    assert ImageSource(at_engine).place(wanted, resolved, tmp_path / "into", job).image_id


def test_image_account_of_docker(
    at_engine: Workplace,
    registry_auth: PrivateRegistry,
    private: str,
    no_docker_config: Path,
    job: Job,
) -> None:
    pair = base64.b64encode(f"{registry_auth.user}:{registry_auth.password}".encode()).decode()
    config = {"auths": {registry_auth.address: {"auth": pair}}}
    (no_docker_config / "config.json").write_text(json.dumps(config))
    assert resolve(at_engine, job, want(private)).id


def test_image_account_wrong(
    at_engine: Workplace,
    private: str,
    no_docker_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: Job,
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "wr0ng-pa55")
    account = models.Credentials(username="me", password=models.EnvRef(env="REGISTRY_TOKEN"))
    error = refused(at_engine, job, want(private, credentials=account))
    assert isinstance(error, RegistryUnavailable)
    assert "refuses the credentials" in error.what
    assert "docker login" in error.todo
    assert "wr0ng" not in str(error)


def test_image_account_missing(
    at_engine: Workplace, private: str, no_docker_config: Path, job: Job
) -> None:
    error = refused(at_engine, job, want(private))
    assert isinstance(error, RegistryUnavailable)
    assert "credentials" in error.todo


def test_registry_checked(
    at_engine: Workplace,
    registry: PrivateRegistry,
    registry_auth: PrivateRegistry,
    no_docker_config: Path,
) -> None:
    assert registry.address in check_registry(f"{registry.address}/x", None)
    account = {"username": registry_auth.user, "password": registry_auth.password}
    said = check_registry(f"{registry_auth.address}/x", account)
    assert registry_auth.user in said
    assert registry_auth.password not in said
    with pytest.raises(RegistryUnavailable):
        check_registry(f"{registry_auth.address}/x", {"username": "me", "password": "wrong"})
    with pytest.raises(RegistryUnavailable):
        check_registry("127.0.0.1:1/x", None)


# Registries that don't answer


def test_image_registry_down(at_engine: Workplace, job: Job) -> None:
    error = refused(at_engine, job, want("127.0.0.1:1/x/y"))
    assert isinstance(error, RegistryUnavailable)
    assert "127.0.0.1:1" in error.what
    assert "refused" in error.what


def test_image_registry_and_engine_down(workplace: Workplace, job: Job, tmp_path: Path) -> None:
    down = replace(workplace, engine=Engine(f"unix://{tmp_path}/nothing"))
    error = refused(down, job, want("127.0.0.1:1/x/y", ">=1"))
    assert isinstance(error, RegistryUnavailable)
    assert not isinstance(error, EngineUnavailable)


def test_image_registry_that_only_the_engine_can_reach(
    make_engine: Callable[..., PrivateEngine],
    make_registry: Callable[..., PrivateRegistry],
    workplace: Workplace,
    job: Job,
) -> None:
    """It is in the network namespace of another engine; this process is in that of the session."""
    other = make_engine()
    distant = make_registry(other)
    with other.inside():
        digest = distant.put("shop/api", "latest", make_image(other, "shop-api:latest", "x"))
    wanted = want(f"{distant.address}/shop/api")
    there = replace(workplace, engine=Engine(other.url))
    assert resolve(there, job, wanted).id == digest
    missing = refused(there, job, want(f"{distant.address}/shop/api", "nothing"))
    assert isinstance(missing, SourceError)
    assert isinstance(
        refused(there, job, want(f"{distant.address}/shop/api", ">=1")), RegistryUnavailable
    )


class Strange:
    """An HTTP server that isn't a registry, or not a good one: `answers` path → (status, body)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.default: tuple[int, dict[str, str], bytes] = (200, {}, b"<html>")
        strange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = strange.answers.get(self.path, strange.default)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.image = f"127.0.0.1:{self.server.server_port}/shop/api"


@pytest.fixture
def strange() -> Iterator[Strange]:
    made = Strange()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>hello"),
        (200, {"Docker-Content-Digest": "sha256:short"}, b""),
        (500, {}, b""),
        (503, {"Retry-After": "17"}, b""),
        (429, {"Retry-After": "17"}, b""),
        (401, {}, b""),
        (401, {"WWW-Authenticate": "gibberish"}, b""),
        (401, {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/token"'}, b""),
        (403, {}, b""),
        (302, {"Location": "http://127.0.0.1:1/"}, b""),
    ],
)
@pytest.mark.parametrize("revision", [">=1", "v1"])
def test_image_registry_answers_strangely(
    workplace: Workplace,
    strange: Strange,
    job: Job,
    tmp_path: Path,
    answer: tuple[int, dict[str, str], bytes],
    revision: str,
) -> None:
    strange.default = answer
    alone = replace(workplace, engine=Engine(f"unix://{tmp_path}/nothing"))
    outcome = resolve_all(alone, [want(strange.image, revision)], job)["shop/api"]
    if answer[0] == 200 and revision == "v1" and not answer[1]:
        # A manifest without the header: its digest is its hash.
        assert version(outcome).id.startswith("sha256:")
        return
    assert isinstance(outcome, RegistryUnavailable)
    if "Retry-After" in answer[1]:
        assert outcome.retry_after == 17


def test_image_tags_in_pages(workplace: Workplace, strange: Strange, job: Job) -> None:
    first, second = "/v2/shop/api/tags/list?n=1000", "/v2/shop/api/tags/list?n=1000&last=1.1.0"
    pages = {first: ["1.0.0", "1.1.0"], second: ["1.2.0"]}
    for path, tags in pages.items():
        link = {"Link": f'<{second}>; rel="next"'} if path == first else {}
        strange.answers[path] = (200, link, json.dumps({"name": "shop/api", "tags": tags}).encode())
    strange.answers["/v2/shop/api/manifests/1.2.0"] = (200, {"Docker-Content-Digest": DIGEST}, b"")
    strange.default = (404, {}, b"{}")
    assert resolve(workplace, job, want(strange.image, "^1")).name == "1.2.0"


def test_image_question_cancelled(workplace: Workplace, job: Job) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wanted = want(f"127.0.0.1:{silent.getsockname()[1]}/x/y")
        threading.Timer(0.2, job.cancel.cancel, (Cancelled("cancelled"),)).start()
        start = time.monotonic()
        with pytest.raises(Cancelled):
            resolve_all(workplace, [wanted], job)
        assert time.monotonic() - start < 0.7
