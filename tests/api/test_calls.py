"""The eight calls: documented answers, and what they do to the queue and to the spec."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.api.conftest import Api
from tests.support.gitrepo import GitRepo

DEAD = "gone"
"""An owner that doesn't live: whoever comes next takes its deployment over at once."""


def one(api: Api, app: str = "api") -> dict[str, object]:
    answer = api.get("application.one", applicationId=app)
    assert answer.status_code == 200
    found: dict[str, object] = answer.json()
    return found


# -- deploy and redeploy ---------------------------------------------------------------------


def test_deploy_is_visible_as_soon_as_it_has_answered(api: Api) -> None:
    assert one(api)["applicationStatus"] == "idle"
    answer = api.post("application.deploy", applicationId="api")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert one(api)["applicationStatus"] == "running"
    (row,) = api.get("deployment.all", applicationId="api").json()
    assert (row["status"], row["title"], row["description"]) == ("queued", "Manual deployment", "")
    assert (row["startedAt"], row["finishedAt"], row["errorMessage"]) == (None, None, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["createdAt"])
    assert api.backend.wakes == 1


def test_deploy_after_one_that_is_done_never_says_done(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    first = api.finish()
    assert one(api)["applicationStatus"] == "done"
    api.post("application.deploy", applicationId="api", title="Second", description="why")
    found = one(api)
    assert found["applicationStatus"] == "running"
    deployments = found["deployments"]
    assert isinstance(deployments, list)
    assert [row["status"] for row in deployments] == ["queued", "done"]
    assert (deployments[0]["title"], deployments[0]["description"]) == ("Second", "why")
    assert deployments[1]["deploymentId"] == first


def test_deploy_twice_supersedes_the_one_that_waits(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    api.post("application.deploy", applicationId="api")
    rows = api.get("deployment.all", applicationId="api").json()
    assert [(row["status"], row["outcome"]) for row in rows] == [
        ("queued", None),
        ("done", "superseded"),
    ]


def test_redeploy_takes_the_version_that_serves(api: Api, tmp_path: Path) -> None:
    api.post("application.deploy", applicationId="api")
    api.finish()
    served = api.get("deployment.all", applicationId="api").json()[0]["resolvedRevision"]
    GitRepo(tmp_path / "git" / "app").commit({"new": "file"})
    answer = api.post("application.redeploy", applicationId="api")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    row = api.get("deployment.all", applicationId="api").json()[0]
    assert (row["title"], row["resolvedRevision"]) == ("Rebuild deployment", served)


def test_redeploy_of_what_was_never_deployed(api: Api) -> None:
    answer = api.post("application.redeploy", applicationId="api")
    assert answer.status_code == 400
    assert "no successful deployment" in answer.json()["message"]


def test_deploy_with_a_branch_that_is_not_there(api: Api, tmp_path: Path) -> None:
    api.write(api={"source": {"git": GitRepo(tmp_path / "git/app").url}, "revision": "gone"})
    answer = api.post("application.deploy", applicationId="api")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert "gone" in answer.json()["message"]
    assert one(api)["applicationStatus"] == "idle"


def test_deploy_while_the_git_host_is_away(api: Api) -> None:
    api.write(api={"source": {"git": "http://user:geheim@127.0.0.1:9/app.git"}})
    answer = api.post("application.deploy", applicationId="api")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0
    assert "geheim" not in answer.text
    assert api.get("deployment.all", applicationId="api").json() == []


def test_deploy_while_the_git_host_does_not_answer_is_given_up(
    api: Api, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.api.actions.ANSWER_SECONDS", 0.5)
    api.write(api={"source": {"git": f"http://127.0.0.1:{silent_port}/app.git"}})
    answer = api.post("application.deploy", applicationId="api")
    assert answer.status_code == 503
    assert answer.elapsed.total_seconds() < 5
    assert api.get("deployment.all", applicationId="api").json() == []


# -- ending ----------------------------------------------------------------------------------


def test_cancel_ends_the_one_in_progress(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    api.claim(owner=DEAD)
    api.post("application.deploy", applicationId="web")
    answer = api.post("application.cancelDeployment", applicationId="api")
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "message": "Deployment cancellation requested"},
    )
    found = one(api)
    assert found["applicationStatus"] == "idle"
    deployments = found["deployments"]
    assert isinstance(deployments, list)
    assert (deployments[0]["status"], deployments[0]["outcome"]) == ("done", "cancelled")
    assert deployments[0]["errorMessage"] is None
    assert one(api, "web")["applicationStatus"] == "running"


def test_cancel_before_it_has_begun(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    assert api.post("application.cancelDeployment", applicationId="api").status_code == 200
    assert one(api)["applicationStatus"] == "idle"
    (row,) = api.get("deployment.all", applicationId="api").json()
    assert (row["status"], row["outcome"]) == ("done", "cancelled")


def test_cancel_leaves_what_waits_behind_the_one_in_progress(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    api.claim(owner=DEAD)
    api.post("application.deploy", applicationId="api")
    api.post("application.cancelDeployment", applicationId="api")
    rows = api.get("deployment.all", applicationId="api").json()
    assert [row["status"] for row in rows] == ["queued", "done"]


def test_cancel_with_nothing_in_progress(api: Api) -> None:
    answer = api.post("application.cancelDeployment", applicationId="api")
    assert (answer.status_code, answer.json()["success"]) == (200, True)


def test_kill_ends_it_by_force(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    api.claim(owner=DEAD)
    answer = api.post("application.killBuild", applicationId="api")
    assert (answer.status_code, answer.json()) == (200, {})
    found = one(api)
    assert found["applicationStatus"] == "error"
    deployments = found["deployments"]
    assert isinstance(deployments, list)
    assert (deployments[0]["status"], deployments[0]["outcome"]) == ("error", "killed")
    assert "killed" in deployments[0]["errorMessage"]


def test_clean_queues_leaves_the_one_in_progress(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    running = api.claim().id
    api.post("application.deploy", applicationId="api")
    api.post("application.deploy", applicationId="web")
    answer = api.post("application.cleanQueues", applicationId="api")
    assert (answer.status_code, answer.json()) == (200, {})
    rows = api.get("deployment.all", applicationId="api").json()
    assert [(row["status"], row["outcome"]) for row in rows] == [
        ("done", "cancelled"),
        ("running", None),
    ]
    assert rows[1]["deploymentId"] == running
    assert one(api)["applicationStatus"] == "running"
    assert one(api, "web")["applicationStatus"] == "running"


def test_error_message_says_why_and_what_to_do(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    api.finish(outcome="failed", reason="the build broke", todo="Correct the Dockerfile.")
    found = one(api)
    assert found["applicationStatus"] == "error"
    (row,) = api.get("deployment.all", applicationId="api").json()
    assert row["errorMessage"] == "the build broke. Correct the Dockerfile."


# -- look-ups --------------------------------------------------------------------------------


def test_application_by_each_of_its_names(api: Api) -> None:
    found = [one(api, name) for name in ("api", "shop/api", "shop-api")]
    assert found[0] == found[1] == found[2]
    assert one(api, str(found[0]["applicationId"])) == found[0]


def test_application_that_is_gone_from_the_spec_can_be_ended_but_not_deployed(
    api: Api, tmp_path: Path
) -> None:
    api.post("application.deploy", applicationId="api")
    api.claim(owner=DEAD)
    api.write(web={"source": {"git": GitRepo(tmp_path / "git/app").url}})
    assert one(api)["applicationStatus"] == "running"
    assert api.post("application.deploy", applicationId="api").status_code == 404
    assert api.post("application.cancelDeployment", applicationId="api").status_code == 200
    assert one(api)["applicationStatus"] == "idle"


def test_projects_have_their_applications_in_both_places(api: Api) -> None:
    (project,) = api.get("project.all").json()
    assert [app["name"] for app in project["applications"]] == ["api", "web"]
    (environment,) = project["environments"]
    assert environment["applications"] == project["applications"]
    assert {"applicationId", "name", "appName"} <= project["applications"][0].keys()
    assert api.get("project.one", projectId=project["projectId"]).json() == project
    assert api.get("project.one", projectId="other").status_code == 404


def test_log_of_a_deployment_and_its_end(api: Api) -> None:
    api.post("application.deploy", applicationId="api")
    identity = api.finish()
    path = api.store.log_path("shop/api", identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("clone\nbuild with geheim\ndone\n")
    api.backend.tools.redactor.learn("geheim")
    log = api.get("deployment.readLogs", deploymentId=identity).json()
    assert log == "clone\nbuild with *****\ndone\n"
    assert api.get("deployment.readLogs", deploymentId=identity, tail=1).json() == "done\n"
    assert api.get("deployment.readLogs", deploymentId="other").status_code == 404


def test_user_and_health_and_the_document(api: Api) -> None:
    assert api.get("settings.health").json() == {"status": "ok"}
    assert api.as_("read").get("user.get").json()["role"] == "read"
    document = api.get("settings.getOpenApiDocument").json()
    assert "/application.deploy" in document["paths"]


# -- the environment -------------------------------------------------------------------------


def test_save_environment_replaces_keeps_and_clears(api: Api) -> None:
    path = api.backend.configuration.file
    path.write_text(path.read_text().replace("apps:", "apps:  # ours"))
    text = "A=1\r\nB='x # y'\n\nC=\"a=$b\"\n"
    answer = api.post("application.saveEnvironment", applicationId="api", env=text)
    assert (answer.status_code, answer.json()) == (200, True)
    env = dict(api.backend.spec().spec.apps["api"].env)
    assert env == {"A": "1", "B": "x # y", "C": "a=$b"}
    assert "# ours" in path.read_text()
    assert api.backend.looks
    answer = api.post(
        "application.saveEnvironment", applicationId="api", createEnvFile=True, buildArgs="X=1"
    )
    assert answer.status_code == 200
    app = api.backend.spec().spec.apps["api"]
    assert (dict(app.env), app.env_file, dict(app.build.args)) == (env, True, {"X": "1"})
    shown = one(api)
    again = api.post("application.saveEnvironment", applicationId="api", env=shown["env"])
    assert again.status_code == 200
    assert dict(api.backend.spec().spec.apps["api"].env) == env
    api.post("application.saveEnvironment", applicationId="api", env=None)
    assert dict(api.backend.spec().spec.apps["api"].env) == {}


def test_save_environment_keeps_references_and_never_shows_what_they_stand_for(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEHEIM", "sesam-oeffne-dich")
    repo = GitRepo(tmp_path / "git/app")
    api.write(api={"source": {"git": repo.url}, "env": {"KEY": {"env": "GEHEIM"}, "A": "1"}})
    before = api.backend.configuration.file.read_text()
    shown = one(api)
    assert "sesam" not in str(shown)
    api.post("application.saveEnvironment", applicationId="api", env=shown["env"])
    assert api.backend.configuration.file.read_text() == before
    answer = api.post("application.saveEnvironment", applicationId="api", env="A=${{env.HOME}}")
    assert answer.status_code == 400
    assert api.backend.configuration.file.read_text() == before


def test_save_environment_that_makes_no_sense_changes_nothing(api: Api) -> None:
    before = api.backend.configuration.file.read_text()
    for env in ("no equals sign", "A=\0"):
        answer = api.post("application.saveEnvironment", applicationId="api", env=env)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert api.backend.configuration.file.read_text() == before


def test_update_is_for_the_environment_alone(api: Api) -> None:
    assert api.post("application.update", applicationId="api", env="A=1").json() is True
    assert dict(api.backend.spec().spec.apps["api"].env) == {"A": "1"}
    answer = api.post("application.update", applicationId="api", name="other")
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["path"] == ["name"]
