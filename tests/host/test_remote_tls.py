"""An engine on TCP that wants certificates."""

import os
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import Cancelled, EngineUnavailable
from reconciler.host.access import Access
from reconciler.host.engine import Engine, Request
from reconciler.host.job import Job
from reconciler.host.stream import stream
from tests.support.tls import TlsEngine


def test_tls_engine_answers_requests_the_sdk_and_the_docker_client(tls_engine: TlsEngine) -> None:
    with closing(Engine(tls_engine.access)) as engine:
        identity = engine.get("/info")["ID"]
        assert engine.client.info()["ID"] == identity
        env = {k: v for k, v in (dict(os.environ) | dict(engine.cli_environment())).items() if v}
        argv = ["docker", "info", "--format", "{{.ID}}"]
        done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == identity
        directory = Path(env["DOCKER_CERT_PATH"])
        assert (directory / "key.pem").stat().st_mode & 0o777 == 0o600
    assert not directory.exists()


def test_tls_stream_that_is_cancelled(tls_engine: TlsEngine) -> None:
    job = Job()
    with closing(Engine(tls_engine.access)) as engine:
        timer = threading.Timer(0.2, job.cancel.cancel, (Cancelled("enough"),))
        timer.start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            stream(engine, Request("GET", "/events"), job, lambda _: None)
        timer.join()
        assert time.monotonic() - began < 2


def refused(access: Access) -> EngineUnavailable:
    with closing(Engine(access)) as engine, pytest.raises(EngineUnavailable) as caught:
        engine.get("/info")
    assert access.tls_key not in str(caught.value) or not access.tls_key
    return caught.value


def test_tls_refusals_say_what_to_do(tls_engine: TlsEngine) -> None:
    other = tls_engine.stranger
    access = tls_engine.access
    for wrong, words in (
        (replace(access, tls_ca=other.text("ca")), "isn't signed by the CA in `tls.ca`"),
        (replace(access, tls_ca="nonsense"), "`tls.ca` isn't a certificate"),
        (tls_engine.anonymous, "wants a client certificate"),
        (tls_engine.by(other), "client certificate"),
        (replace(access, tls_key=other.text("client-key")), "don't belong together"),
        (replace(access, url="tcp://127.0.0.2:2376"), "Connection refused"),
        (replace(access, url="tcp://localhost:2376"), "certificate is for another name"),
        (Access(tls_engine.url), "HTTP request to an HTTPS server"),
    ):
        error = refused(wrong)
        assert words in error.what, error
        assert error.todo
