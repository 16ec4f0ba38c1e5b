"""What engines say, and what is read from it. All pure."""

import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DeployError
from reconciler.host.access import Access
from reconciler.runtime.base import Workload
from reconciler.runtime.docker_api import demultiplex
from reconciler.runtime.docker_crew import parse_crew
from reconciler.runtime.docker_errors import explain_refusal, port_holder
from reconciler.runtime.docker_instance import parse_state
from reconciler.runtime.docker_observe import parse_container, parse_observed
from reconciler.runtime.proc_net import is_loopback, parse_listening
from reconciler.spec.scalars import parse_port
from tests.runtime.bench import make_app

# One list call


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "Id": "ab" * 32,
        "Names": ["/shop-api"],
        "Image": "shop/api",
        "ImageID": "sha256:12",
        "Command": "serve",
        "Created": 1700000000,
        "Ports": [],
        "Labels": {
            "reconciler.app": "shop/api",
            "reconciler.deployment": "k3x9",
            "reconciler.build-hash": "v1:b",
            "reconciler.run-hash": "v1:r",
            "reconciler.revision": "4d5e6f",
        },
        "State": "running",
        "Status": "Up 3 minutes",
        "HostConfig": {"NetworkMode": "shop"},
        "NetworkSettings": {"Networks": {"shop": {}}},
        "Mounts": [],
        **changes,
    }


def test_observe_everything_of_a_container() -> None:
    found = parse_container(entry())
    assert (found.app, found.deployment, found.name) == ("shop/api", "k3x9", "shop-api")
    assert (found.build_hash, found.run_hash, found.revision) == ("v1:b", "v1:r", "4d5e6f")
    assert (found.id, found.image_id, found.created) == ("ab" * 32, "sha256:12", 1700000000)
    assert (found.state, found.status, found.health, found.exit_code) == (
        "running",
        "Up 3 minutes",
        "",
        None,
    )


@pytest.mark.parametrize(
    ("state", "status", "health", "code"),
    [
        ("exited", "Exited (137) 2 minutes ago", "", 137),
        ("exited", "Exited (0) Less than a second ago", "", 0),
        ("running", "Up 3 minutes (healthy)", "healthy", None),
        ("running", "Up 3 minutes (unhealthy)", "unhealthy", None),
        ("running", "Up Less than a second (health: starting)", "starting", None),
        ("paused", "Up 3 minutes (Paused)", "", None),
        ("restarting", "Restarting (3) 1 second ago", "", 3),
        ("created", "Created", "", None),
        ("dead", "Dead", "", None),
        ("removing", "Removal In Progress", "", None),
    ],
)
def test_observe_status(state: str, status: str, health: str, code: int | None) -> None:
    found = parse_container(entry(State=state, Status=status))
    assert (found.state, found.health, found.exit_code) == (state, health, code)


def test_observe_newest_first_and_apps_apart() -> None:
    other = {"reconciler.app": "shop/web"}
    observed = parse_observed(
        [
            entry(Id="old", Created=1),
            entry(Id="web", Labels=other),
            entry(Id="new", Created=2),
            entry(Id="foreign", Labels={"reconciler.project": "shop"}),
        ]
    )
    ids = {app: [c.id for c in containers] for app, containers in observed.apps.items()}
    assert ids == {"shop/api": ["new", "old"], "shop/web": ["web"]}


def test_observe_name_of_a_linked_container() -> None:
    assert parse_container(entry(Names=["/web/db", "/shop-api"])).name == "shop-api"


def test_observe_200_containers_in_5_ms() -> None:
    documents = [entry(Id=f"{n:064x}", Created=n) for n in range(200)]
    times = []
    for _ in range(10):
        began = time.perf_counter()
        parse_observed(documents)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.005


# Who serves, who is aside


def member(name: str, state: str = "exited", deployment: str = "", created: int = 1) -> Any:
    labels = {"reconciler.deployment": deployment or name.rpartition("-")[2]}
    return entry(Id=name, Names=[f"/{name}"], State=state, Created=created, Labels=labels)


@pytest.mark.parametrize(
    ("members", "serving"),
    [
        ([], None),
        ([member("shop-api-new", "created")], None),
        ([member("shop-api", "exited", "a")], "shop-api"),
        ([member("shop-api", "exited", "a"), member("shop-api-b", "running")], "shop-api-b"),
        (
            [member("shop-api-b", "exited", created=2), member("shop-api-previous-a")],
            "shop-api-previous-a",
        ),
        ([member("shop-api-b", "created"), member("shop-api-a", "exited")], "shop-api-a"),
        ([member("shop-api-a", "dead")], None),
        (
            [member("shop-api-a", created=1), member("shop-api-b", created=2)],
            "shop-api-b",
        ),
    ],
    ids=[
        "none",
        "only the new one",
        "exited",
        "what runs before what is named so",
        "aside before a failed one",
        "never started ones don't count",
        "dead ones don't count",
        "newest",
    ],
)
def test_crew_serving(members: list[Any], serving: str | None) -> None:
    found = parse_crew("shop/api", members).serving("new")
    assert (found and found.name) == serving


def test_crew_member() -> None:
    labels = {
        "reconciler.deployment": "k3x9",
        "reconciler.restart": "always",
        "reconciler.stop-grace": "30",
    }
    anonymous = {"Type": "volume", "Name": "f" * 64, "Destination": "/data"}
    named = {"Type": "volume", "Name": "data", "Destination": "/var"}
    ports = [{"PrivatePort": 80, "Type": "tcp"}, {"PublicPort": 53, "Type": "udp"}]
    document = entry(Labels=labels, Mounts=[anonymous, named, {"Type": "bind"}], Ports=ports)
    (found,) = parse_crew("shop/api", [document]).members
    assert (found.deployment, found.restart, found.stop_grace) == ("k3x9", "always", 30)
    assert found.anonymous == (("f" * 64, "/data"),)
    assert found.ports == {(53, "udp")}
    assert found.networks == {"shop"}


# Refusals

WORKLOAD = Workload(
    "shop/api", "k3x9", "", make_app(ports=["8080:80", "127.0.0.1:9090:90"]), {}, Path("/srv")
)
OCI = "failed to create shim task: OCI runtime create failed: runc create failed: "
START = f"{OCI}unable to start container process: "
ENDPOINT = "driver failed programming external connectivity on endpoint web (12ab): "


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{ENDPOINT}Bind for 0.0.0.0:9090 failed: port is already allocated", "port 9090/tcp"),
        (
            f"{ENDPOINT}Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: "
            "address already in use",
            "port 8080/tcp",
        ),
        (
            "failed to set up container networking: failed to bind host port for "
            "0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
            "port 8080/tcp",
        ),
        (f'{START}exec: "nope": executable file not found in $PATH: unknown', "program 'nope'"),
        (
            f'{START}exec: "/x/y": stat /x/y: no such file or directory: unknown',
            "program '/x/y'",
        ),
        (f"{START}exec /run.sh: no such file or directory: unknown", "/run.sh"),
        (f'{START}exec: "/etc/passwd": permission denied: unknown', "can't be executed"),
        (f"{START}exec /app: exec format error: unknown", "isn't made for this machine"),
        ("unable to find user foo: no matching entries in passwd file", "knows no user 'foo'"),
        ("unable to find group bar: no matching entries in group file", "knows no group 'bar'"),
        (
            'invalid mount config for type "bind": bind source path does not exist: /srv/x',
            "the directory /srv/x of `volumes`",
        ),
        (
            f'{OCI}error mounting "/etc" to rootfs at "/etc/passwd": mount: not a directory: '
            "unknown: Are you trying to mount a directory onto a file (or vice-versa)?",
            "/etc can't be mounted at /etc/passwd",
        ),
        ("Duplicate mount point: /d", "two things at /d"),
        (
            'invalid mount config for type "volume": invalid specification: destination can\'t '
            "be '/'",
            "destination can't be '/'",
        ),
        (
            'create vv: error looking up volume plugin nodriver: plugin "nodriver" not found',
            "volume driver nodriver",
        ),
        ("Minimum memory limit allowed is 6MB", "limits: Minimum memory limit"),
        ("Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "limits"),
        ("No such image: sha256:00", "image is gone"),
        ("network shop not found", "network shop is gone"),
        ("network shop is ambiguous (2 matches found on name)", "more than one network"),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "no addresses left",
        ),
        ("all predefined address pools have been fully subnetted", "no addresses left"),
        ("the working directory 'x' is invalid, it needs to be an absolute path", "'x'"),
        (
            f"{ENDPOINT}Error starting userland proxy: listen tcp4 10.9.9.9:8080: bind: cannot "
            "assign requested address",
            "an address of `ports`",
        ),
        (
            'Conflict. The container name "/shop-api-k3x9" is already in use by container "12".',
            "the name shop-api-k3x9",
        ),
        (f"{OCI}something new: unknown", "the engine refused the container: something new"),
    ],
)
def test_refusal_explained(text: str, what: str) -> None:
    error = explain_refusal(text, WORKLOAD)
    assert isinstance(error, DeployError)
    assert what in error.what
    assert error.app == "shop/api"
    assert error.todo or "refused the container" in error.what


def test_refusal_names_who_has_the_port() -> None:
    text = "Bind for 0.0.0.0:8080 failed: port is already allocated"
    assert "taken by the container web" in explain_refusal(text, WORKLOAD, "the container web").what
    assert "ss -ltnp" in explain_refusal(text, WORKLOAD).todo


def test_port_holder() -> None:
    published = [("dns", 53, "udp", "0.0.0.0"), ("web", 80, "tcp", "127.0.0.1")]
    assert port_holder(published, parse_port("53:53")) == ""
    assert port_holder(published, parse_port("10.0.0.1:53:53/udp")) == "the container dns"
    assert port_holder(published, parse_port("80:80")) == "the container web"
    assert port_holder(published, parse_port("127.0.0.2:80:80")) == ""
    assert port_holder([("six", 80, "tcp", "::")], parse_port("80:80")) == "the container six"


# Instances


def inspected(**changes: Any) -> dict[str, Any]:
    return {
        "State": {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False}
        | {"Error": ""},
        "Config": {},
        "HostConfig": {"NetworkMode": "shop"},
        "NetworkSettings": {
            "Networks": {"shop": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"}},
            "Ports": {
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
                "90/tcp": [{"HostIp": "10.0.0.1", "HostPort": "9090"}],
                "91/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9191"}],
                "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}],
                "99/tcp": None,
            },
        },
        **changes,
    }


def test_instance_addresses_of_a_local_engine() -> None:
    state = parse_state(inspected(), Access("unix:///run/docker.sock"))
    assert state.addresses == ("172.18.0.2", "fd00::2")
    local = ("127.0.0.1", 9191)
    assert state.published == {80: ("127.0.0.1", 8080), 90: ("10.0.0.1", 9090), 91: local}


def test_instance_addresses_through_ssh_are_those_on_the_host() -> None:
    there = parse_state(inspected(), Access("ssh://deploy@web1.example.com"))
    assert there == parse_state(inspected(), Access("unix:///run/docker.sock"))


def test_instance_addresses_of_an_engine_elsewhere() -> None:
    """The same address here would be somebody else's container, or published by somebody else."""
    state = parse_state(inspected(), Access("tcp://build.example.com:2375"))
    assert state.addresses == ()
    assert state.published == {80: ("build.example.com", 8080), 90: ("10.0.0.1", 9090)}
    state = parse_state(inspected(), Access("unix:///run/docker.sock", address="10.0.0.1"))
    assert state.addresses == ()
    assert state.published == {80: ("10.0.0.1", 8080), 90: ("10.0.0.1", 9090)}


def test_instance_on_the_hosts_network() -> None:
    document = inspected(HostConfig={"NetworkMode": "host"})
    assert parse_state(document, Access("unix:///run/docker.sock")).addresses == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({}, ()),
        ({"Healthcheck": {"Test": ["NONE"]}}, ()),
        ({"Healthcheck": {"Test": []}}, ()),
        ({"Healthcheck": {"Test": ["CMD", "pg_isready", "-q"]}}, ("pg_isready", "-q")),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x || exit 1"]}},
            ("/bin/sh", "-c", "curl -f x || exit 1"),
        ),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "x"]}, "Shell": ["/bin/bash", "-c"]},
            ("/bin/bash", "-c", "x"),
        ),
    ],
)
def test_instance_health_command(config: Any, argv: tuple[str, ...]) -> None:
    assert parse_state(inspected(Config=config), Access("unix:///x")).health_command == argv


def test_listening_sockets() -> None:
    text = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
        "   1: 0B00007F:A1B2 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
        "   2: 020012AC:1F41 010012AC:C350 01 00000000:00000000 00:00000000 00000000\n"
        "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n"
        "   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0\n"
        "   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0\n"
    )
    assert parse_listening(text) == (
        ("::", 80),
        ("::1", 81),
        ("127.0.0.1", 82),
        ("127.0.0.1", 8080),
    )
    assert [is_loopback(a) for a in ("::1", "127.0.0.1", "0.0.0.0", "::")] == [
        True,
        True,
        False,
        False,
    ]


def test_output_of_two_streams() -> None:
    data = b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\4err\n\1\0\0\0\0\0\0\1"
    assert demultiplex(data) == b"outerr\n"
