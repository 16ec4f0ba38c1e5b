"""What was written for Dokploy, against a real daemon and a real engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Shop, serves

README = (Path(__file__).parents[2] / "README.md").read_text()
AWKWARD = {
    "DOLLAR": "a$b ${HOME} $$",
    "HASH": "a # b",
    "QUOTES": 'it\'s "fine"',
    "EQUALS": "postgres://u:p@db/x?a=b&c=d==",
    "SPACES": "  around  ",
    "LINES": "one\ntwo\n",
    "BACKSLASH": r"c:\new\table",
    "EMPTY": "",
    "UNICODE": "grüße 🚀",
}
TEXT = r"""
DOLLAR="a$b ${HOME} $$"
HASH='a # b'

QUOTES="it's \"fine\""
EQUALS=postgres://u:p@db/x?a=b&c=d==
SPACES="  around  "
LINES="one\ntwo\n"
BACKSLASH=c:\new\table
EMPTY=
UNICODE=grüße 🚀
""".replace("\n", "\r\n")


def script_of_readme() -> str:
    section = README.partition("## Coming from Dokploy")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def create_token(shop: Shop) -> str:
    argv = ["create", "ci", "--scope", "admin", "--state-dir", str(shop.state_dir)]
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "token", *argv],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def environment(shop: Shop) -> dict[str, str]:
    """What the container really has."""
    inspected = shop.engine.inspect(shop.container_id())
    return dict(line.split("=", 1) for line in inspected["Config"]["Env"])


def test_script_of_readme_deploys(shop: Shop, wait_until: Callable[..., Any]) -> None:
    shop.app(env={"LOG_LEVEL": "info"})
    shop.spec.write_text(shop.spec.read_text() + "# the end\n")
    token = create_token(shop)
    script = shop.directory / "deploy.sh"
    script.write_text(script_of_readme())

    def curl(path: str, *arguments: str) -> Any:
        done = subprocess.run(
            ["curl", "-sS", *arguments, f"{url}/api/{path}",
             "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"],
            capture_output=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    with shop.daemon("--listen", "127.0.0.1:0") as daemon:
        wait_until(lambda: daemon.lines("listening"))
        url = "http://" + daemon.lines("listening")[0]["text"].rpartition(" ")[2]
        keys = {"DOKPLOY_URL": url, "DOKPLOY_API_KEY": token, "POLL_SECONDS": "0.1"}
        wait_until(lambda: serves(shop, "one"), timeout=30)
        shop.commit_page("two")
        done = subprocess.run(
            ["sh", script, "api"],
            check=False,
            env={**os.environ, **keys},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "before: done" in done.stdout
        assert "after: done" in done.stdout
        assert shop.answer() == "two"
        assert environment(shop)["GREETING"] == "a # b"
        assert shop.spec.read_text().endswith("# the end\n")

        body = json.dumps({"applicationId": "api", "env": TEXT})
        assert curl("application.saveEnvironment", "-X", "POST", "-d", body) is True
        answer = curl("application.deploy", "-X", "POST", "-d", '{"applicationId": "api"}')
        assert answer == {"success": True}
        found = curl("application.one?applicationId=api")
        assert found["applicationStatus"] == "running"
        wait_until(
            lambda: curl("application.one?applicationId=api")["applicationStatus"] == "done",
            timeout=30,
        )
        assert {key: environment(shop)[key] for key in AWKWARD} == AWKWARD
        newest = curl("deployment.all?applicationId=api")[0]
        assert "health" in curl(f"deployment.readLogs?deploymentId={newest['deploymentId']}")
        assert isinstance(curl("application.readLogs?applicationId=api&tail=5"), str)
        assert curl("application.clearDeployments", "-d", '{"applicationId": "api"}') == {
            "success": True
        }
        assert len(curl("deployment.all?applicationId=api")) == 1
        assert shop.answer() == "two"
