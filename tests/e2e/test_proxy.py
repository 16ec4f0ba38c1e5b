"""Apps behind the project's proxy, from the command line and under the daemon."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Shop
from tests.runtime.proxying import free_ports, make_certificate
from tests.support.haproxy import make_haproxy_image

DOMAIN = "shop.example.com"


def ask(port: int, domain: str = DOMAIN) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": domain})
        answer = connection.getresponse()
        return answer.read().decode().strip() if answer.status == 200 else str(answer.status)
    except (OSError, HTTPException) as error:
        return str(error)
    finally:
        connection.close()


def proxies(shop: Shop) -> list[Any]:
    return shop.engine.containers(f"reconciler.proxy={shop.project}")


def test_exposed_app_is_served_through_the_proxy(
    shop: Shop, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    make_haproxy_image(shop.engine)
    http, https = free_ports(2)
    shop.top = {"proxy": {"http": http, "https": https}}
    shop.commit_page("one")
    shop.app(expose={"http": {"domains": [DOMAIN], "port": 8000}})
    assert shop.plan()["proxy"]["causes"] == ["it isn't there yet"]
    shop.apply()
    shop.apply()
    assert ask(http) == "one"
    assert shop.plan()["proxy"] == {"causes": [], "problems": []}

    (tmp_path / "pem").write_text(make_certificate(tmp_path, DOMAIN))
    tls = {"cert": {"file": str(tmp_path / "pem")}, "key": {"file": str(tmp_path / "missing")}}
    domains = [DOMAIN, "shop.example.org"]
    before = shop.containers()[0]["Id"]
    shop.app(expose={"http": {"domains": domains, "port": 8000, "tls": tls}})
    assert "expose.http.tls.key refers to the file" in shop.apply(code=1).out
    assert ask(http, "shop.example.org") == "one"
    shop.app(expose={"http": {"domains": domains, "port": 8000}})
    assert shop.containers()[0]["Id"] == before

    with shop.daemon():
        wait_until(lambda: ask(http, "shop.example.org") == "one")
        shop.engine.docker("rm", "-f", proxies(shop)[0]["Id"])
        wait_until(lambda: ask(http) == "one")
    shop.app(expose=None)
    assert "proxy: corrected: no app is exposed any more" in shop.apply().out
    assert proxies(shop) == []
