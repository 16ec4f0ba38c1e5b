"""Figures for Prometheus, and whether the process lives and works."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler import queue
from reconciler.api.metrics import Metrics, kind_of_drift, kind_of_error
from reconciler.errors import EngineUnavailable, GitUnavailable, RegistryUnavailable, SourceError
from reconciler.events import Event
from reconciler.host.owner import current_owner
from tests.api.conftest import Api

Metric = Callable[..., float]


@pytest.fixture
def metrics(api: Api) -> Metrics:
    """The figures that the server shows."""
    found: Metrics = api.server.app.state.metrics
    return found


@pytest.fixture
def metric(api: Api) -> Metric:
    """The value of a sample at /metrics, 0 where there is none: metric(name, **labels)."""

    def read(name: str, **labels: str) -> float:
        answer = api.client.get("/metrics", headers=api.as_("read").headers)
        families = text_string_to_metric_families(answer.text)
        samples = [sample for family in families for sample in family.samples]
        return sum(one.value for one in samples if (one.name, one.labels) == (name, labels))

    return read


def test_metrics_tell_of_deployments_by_any_process(api: Api, metric: Metric) -> None:
    reader = api.as_("read")
    assert metric("reconciler_app_status", app="shop/api", status="idle") == 1
    api.post("application.deploy", applicationId="api")
    assert metric("reconciler_queue_length") == 1
    assert metric("reconciler_app_status", app="shop/api", status="running") == 1
    now = time.time()
    claim = queue.claim(api.store, current_owner(), now)
    assert claim is not None
    queue.begin_stage(api.store, claim, "clone", now)
    queue.end_stage(api.store, claim, "clone", queue.StageResult(), now + 3)
    queue.finish(api.store, claim, queue.Ending("failed", "no"), now + 4)
    assert metric("reconciler_queue_length") == 0
    assert metric("reconciler_app_status", app="shop/api", status="running") == 0
    count = metric("reconciler_deployments_total", app="shop/api", outcome="failed")
    again = metric("reconciler_deployments_total", app="shop/api", outcome="failed")
    assert count == again == 1
    assert metric("reconciler_stage_duration_seconds_count", stage="clone") == 1
    assert (
        reader.client.get("/metrics", headers=reader.headers)
        .headers["content-type"]
        .startswith("text/plain")
    )


def test_metrics_need_a_token_for_all_apps(api: Api) -> None:
    api.token("narrow", apps=("api",))
    statuses = {
        name: api.client.get("/metrics", headers=api.as_(name).headers).status_code
        for name in ("", "read", "narrow")
    }
    assert statuses == {"": 401, "read": 200, "narrow": 403}


def test_metrics_of_passes_and_errors(
    api: Api, metrics: Metrics, metric: Callable[..., float]
) -> None:
    metrics.pass_finished(0.02, True)
    metrics.pass_finished(0.5, False)
    metrics.met(EngineUnavailable("the engine doesn't answer"))
    assert metric("reconciler_passes_total", result="ok") == 1
    assert metric("reconciler_passes_total", result="failed") == 1
    assert metric("reconciler_pass_duration_seconds_count") == 2
    assert metric("reconciler_last_pass_success_timestamp_seconds") > 1e9
    assert metric("reconciler_errors_total", kind="engine") == 1
    assert metric("reconciler_configuration_problem") == 0
    with api.store.transaction() as connection:
        place = api.backend.configuration.place
        connection.execute(
            "INSERT INTO configurations (place, problem) VALUES (?, 'broken')", (place,)
        )
    assert metric("reconciler_configuration_problem") == 1


def test_metrics_are_accepted_by_readers(api: Api) -> None:
    headers = api.as_("read").headers
    text = api.client.get("/metrics", headers=headers).text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"reconciler_passes", "reconciler_app_status", "reconciler_build_info"} <= families
    modern = headers | {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert api.client.get("/metrics", headers=modern).text.endswith("# EOF\n")
    if promtool := shutil.which("promtool"):
        argv = [promtool, "check", "metrics"]
        found = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("container is missing", "missing"),
        ("container exited with 137", "exited"),
        ("container is unhealthy", "unhealthy"),
        ("else", "other"),
    ],
)
def test_kind_of_drift(cause: str, kind: str) -> None:
    assert kind_of_drift(Event("queued", "shop/api", "d", {"cause": cause})) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GitUnavailable("x"), "git"),
        (RegistryUnavailable("x"), "registry"),
        (SourceError("x"), "source"),
        (ValueError("x"), "other"),
    ],
)
def test_kind_of_error(error: Exception, kind: str) -> None:
    assert kind_of_error(error) == kind


def test_health_without_credentials(api: Api, metrics: Metrics) -> None:
    def ready() -> tuple[int, str]:
        answer = api.client.get("/readyz")
        return answer.status_code, answer.json()["reason"]

    assert api.client.get("/healthz").json() == {"status": "ok", "reason": ""}
    assert ready() == (503, "no pass has ended yet")
    metrics.pass_finished(0.1, True)
    assert ready() == (200, "")
    metrics.pass_finished(0.1, False)
    assert ready()[0] == 503
    metrics.pass_finished(0.1, True)
    metrics.leader = False
    assert ready()[0] == 503
    metrics.leader = True
    api.backend.configuration.files[0].write_text("secret: [")
    assert ready() == (503, "there is no valid spec yet")
