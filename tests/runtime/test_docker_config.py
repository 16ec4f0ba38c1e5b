"""From a workload to the engine's create call, as a value."""

from pathlib import Path
from typing import Any

from reconciler.runtime.base import Workload
from reconciler.runtime.docker_config import bind_source, make_create_call
from tests.runtime.bench import make_app

BASE = Path("/srv/shop")


def call(*, takes_many_networks: bool = True, env: Any = None, **fields: Any) -> Any:
    labels = {"reconciler.run-hash": "v1:ab"}
    workload = Workload(
        "shop/api", "k3x9", "sha256:abc", make_app(**fields), env or {}, BASE, labels
    )
    return make_create_call(workload, takes_many_networks=takes_many_networks)


def host(**fields: Any) -> Any:
    return call(**fields).body["HostConfig"]


def test_create_call_of_an_app_with_nothing_set() -> None:
    made = call()
    assert made.name == "shop-api-k3x9"
    assert made.networks == ("shop",)
    assert made.connect == {}
    assert made.body == {
        "Image": "sha256:abc",
        "Env": [],
        "Labels": {
            "reconciler.run-hash": "v1:ab",
            "reconciler.project": "shop",
            "reconciler.app": "shop/api",
            "reconciler.deployment": "k3x9",
            "reconciler.restart": "unless-stopped",
            "reconciler.stop-grace": "10",
        },
        "ExposedPorts": {},
        "StopTimeout": 10,
        "HostConfig": {
            "NetworkMode": "shop",
            "PortBindings": {},
            "Mounts": [],
            "RestartPolicy": {"Name": "unless-stopped"},
        },
        "NetworkingConfig": {"EndpointsConfig": {"shop": {"Aliases": ["api", "shop-api"]}}},
    }


def test_create_call_process() -> None:
    body = call(
        command=["serve", "--port", "8000"], entrypoint=["/init"], user="app", workdir="/srv"
    ).body
    process = {key: body[key] for key in ("Cmd", "Entrypoint", "User", "WorkingDir")}
    assert process == {
        "Cmd": ["serve", "--port", "8000"],
        "Entrypoint": ["/init"],
        "User": "app",
        "WorkingDir": "/srv",
    }


def test_create_call_empty_entrypoint_takes_the_images_away() -> None:
    assert call(entrypoint=[]).body["Entrypoint"] == [""]


def test_create_call_env_exactly_as_written() -> None:
    env = {"EMPTY": "", "EQUALS": "a=b", "LINES": "a\nb", "SPACE": " x "}
    assert call(env=env).body["Env"] == ["EMPTY=", "EQUALS=a=b", "LINES=a\nb", "SPACE= x "]


def test_create_call_ports() -> None:
    ports = ["127.0.0.1:8080:8000", "[::1]:8080:8000", "53:53/udp"]
    made = call(ports=ports).body
    assert made["ExposedPorts"] == {"8000/tcp": {}, "53/udp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "8000/tcp": [
            {"HostIp": "127.0.0.1", "HostPort": "8080"},
            {"HostIp": "::1", "HostPort": "8080"},
        ],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }


def test_create_call_volumes() -> None:
    mounts = host(volumes=["data:/var/lib/api", "./conf:/etc/api:ro", "/run/x.sock:/x.sock"])[
        "Mounts"
    ]
    labels = {"reconciler.project": "shop", "reconciler.app": "shop/api"}
    assert mounts == [
        {
            "Type": "volume",
            "Source": "data",
            "Target": "/var/lib/api",
            "ReadOnly": False,
            "VolumeOptions": {"Labels": labels},
        },
        {"Type": "bind", "Source": "/srv/shop/conf", "Target": "/etc/api", "ReadOnly": True},
        {"Type": "bind", "Source": "/run/x.sock", "Target": "/x.sock", "ReadOnly": False},
    ]


def test_bind_source() -> None:
    assert bind_source("../shared", BASE) == "/srv/shared"
    assert bind_source("/data/", BASE) == "/data"
    assert bind_source("~/x", BASE) == str(Path("~/x").expanduser())


def test_create_call_several_networks_at_once() -> None:
    made = call(networks=["front", "back"])
    aliases = {"Aliases": ["api", "shop-api"]}
    endpoints = made.body["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints == {"front": aliases, "back": aliases}
    assert (made.networks, made.connect) == (("front", "back"), {})


def test_create_call_several_networks_one_by_one() -> None:
    made = call(networks=["front", "back"], takes_many_networks=False)
    assert list(made.body["NetworkingConfig"]["EndpointsConfig"]) == ["front"]
    assert made.body["HostConfig"]["NetworkMode"] == "front"
    assert made.connect == {"back": {"Aliases": ["api", "shop-api"]}}


def test_create_call_networks_of_the_engine_itself() -> None:
    for name in ("bridge", "host", "none"):
        made = call(networks=[name])
        assert made.networks == ()
        assert made.body["NetworkingConfig"]["EndpointsConfig"] == {name: {}}


def test_create_call_limits() -> None:
    made = host(resources={"cpus": 1.5, "memory": "512m", "pids": 100})
    assert (made["NanoCpus"], made["Memory"], made["PidsLimit"]) == (1_500_000_000, 1 << 29, 100)


def test_create_call_restart_policies() -> None:
    assert host(restart="no")["RestartPolicy"] == {"Name": "no"}
    assert host(restart="on-failure:3")["RestartPolicy"] == {
        "Name": "on-failure",
        "MaximumRetryCount": 3,
    }


def test_create_call_grace_in_whole_seconds() -> None:
    assert call(stop_grace_period="1500ms").body["StopTimeout"] == 2
    assert call(stop_grace_period="0s").body["StopTimeout"] == 0


def test_create_call_labels_of_the_user_beside_ours() -> None:
    labels = call(labels={"team": "shop"}).body["Labels"]
    assert (labels["team"], labels["reconciler.app"]) == ("shop", "shop/api")
