"""The documented commands, word for word; only the host and the token are ours."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.support.gitrepo import GitRepo

HOST = "https://your-dokploy-instance.com"
APP = "cm5r8k9p00001xyz"
SUCCESS = {"success": True}
COMMANDS = [
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.deploy \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz",
    "title": "Deploy v2.0.0",
    "description": "Production deployment with new features"
  }'""",
        SUCCESS,
    ),
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.redeploy \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz",
    "title": "Rebuild deployment",
    "description": "Rebuilding to apply configuration changes"
  }'""",
        SUCCESS,
    ),
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.cancelDeployment \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz"
  }'""",
        SUCCESS | {"message": "Deployment cancellation requested"},
    ),
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.killBuild \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz"
  }'""",
        {},
    ),
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.cleanQueues \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz"
  }'""",
        {},
    ),
    (
        """curl -X POST https://your-dokploy-instance.com/api/application.saveEnvironment \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "applicationId": "cm5r8k9p00001xyz",
    "env": "NODE_ENV=production\\nPORT=3000",
    "createEnvFile": true,
    "buildArgs": "NODE_VERSION=20",
    "buildSecrets": null
  }'""",
        True,
    ),
    (
        """curl -X 'POST' \\
  'https://your-dokploy-instance.com/application.deploy' \\
  -H 'accept: application/json' \\
  -H 'Content-Type: application/json' \\
  -H 'x-api-key: YOUR_API_TOKEN' \\
  -d '{ "applicationId": "cm5r8k9p00001xyz" }'""",
        SUCCESS,
    ),
]
LOOK_UPS = [
    """curl https://your-dokploy-instance.com/api/application.one?applicationId=cm5r8k9p00001xyz \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
    """curl -X GET \\
  "https://your-dokploy-instance.com/api/deployment.all?applicationId=cm5r8k9p00001xyz" \\
  -H "Authorization: Bearer YOUR_API_TOKEN\"""",
    """curl -G 'https://your-dokploy-instance.com/api/deployment.all' \\
  -H 'x-api-key: YOUR_API_TOKEN' --data-urlencode 'applicationId=cm5r8k9p00001xyz'""",
    """curl -X 'GET' 'https://your-dokploy-instance.com/api/project.all' \\
  -H 'accept: application/json' -H 'x-api-key: YOUR_API_TOKEN'""",
]  # fmt: skip


def run(api: Api, command: str) -> tuple[int, Any]:
    """The status and the answer of a documented command, run as it stands there."""
    ours = command.replace(HOST, api.server.url).replace("YOUR_API_TOKEN", api.tokens["admin"])
    argv = [*shlex.split(ours.replace("\\\n", "")), "-sS", "-w", "\n%{http_code}"]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=30)
    body, _, status = done.stdout.decode().rpartition("\n")
    return int(status), json.loads(body)


@pytest.fixture
def documented(api: Api, tmp_path: Path) -> Api:
    """With the application of the documentation, deployed once."""
    api.write(**{APP: {"source": {"git": GitRepo(tmp_path / "git/app").url}}})
    api.post("application.deploy", applicationId=APP)
    api.finish(app=APP)
    return api


def test_documented_commands_and_answers(documented: Api) -> None:
    for command, answer in COMMANDS:
        assert run(documented, command) == (200, answer), command
    app = documented.backend.configuration.load().spec.apps[APP]
    assert dict(app.env) == {"NODE_ENV": "production", "PORT": "3000"}
    assert (dict(app.build.args), app.env_file) == ({"NODE_VERSION": "20"}, True)
    rows = documented.get("deployment.all", applicationId=APP).json()
    assert [row["title"] for row in rows] == [
        "Manual deployment",
        "Rebuild deployment",
        "Deploy v2.0.0",
        "Manual deployment",
    ]
    assert rows[2]["description"] == "Production deployment with new features"


def test_documented_look_ups(documented: Api) -> None:
    answers = [run(documented, command) for command in LOOK_UPS]
    assert [status for status, _ in answers] == [200] * len(LOOK_UPS)
    one, rows, again, projects = (answer for _, answer in answers)
    assert (one["applicationId"], one["applicationStatus"]) == (APP, "done")
    assert one["deployments"] == rows == again
    assert projects[0]["applications"][0]["applicationId"] == APP
