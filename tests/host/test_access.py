"""Reading an engine's URL. Pure."""

from pathlib import Path

import pytest

from reconciler.host.access import Access, default_access


@pytest.mark.parametrize(
    ("url", "scheme", "user", "host", "port", "path"),
    [
        ("unix:///run/d.sock", "unix", "", "", 0, "/run/d.sock"),
        ("tcp://10.0.0.6", "tcp", "", "10.0.0.6", 2375, ""),
        ("https://10.0.0.6", "tcp", "", "10.0.0.6", 2376, ""),
        ("tcp://[fd00::1]:99", "tcp", "", "fd00::1", 99, ""),
        ("ssh://Web1", "ssh", "", "Web1", 0, "/var/run/docker.sock"),
        ("ssh://de%40ploy@web1:2222/", "ssh", "de@ploy", "web1", 2222, "/var/run/docker.sock"),
        ("ssh://web1/run/user/1000/d.sock", "ssh", "", "web1", 0, "/run/user/1000/d.sock"),
    ],
)
def test_access_reads_its_url(
    url: str, scheme: str, user: str, host: str, port: int, path: str
) -> None:
    access = Access(url)
    assert (access.scheme, access.user, access.hostname) == (scheme, user, host)
    assert (access.port, access.socket_path) == (port, path)


def test_access_with_a_certificate_uses_tls() -> None:
    access = Access("tcp://10.0.0.6", tls_ca="PEM")
    assert (access.uses_tls, access.port) == (True, 2376)
    assert not Access("tcp://10.0.0.6").uses_tls


def test_access_says_where_published_ports_are_reached() -> None:
    assert Access("unix:///run/d.sock").reached_at == ""
    assert Access("ssh://deploy@web1").reached_at == "web1"
    assert Access("ssh://deploy@web1", address="10.0.0.5").reached_at == "10.0.0.5"


def test_access_shows_no_secret() -> None:
    access = Access("ssh://web1", "web1", "", "ca", "cert", "tls-key", "ssh-key", "known")
    assert repr(access) == "Access(url='ssh://web1', name='web1', address='')"


def test_default_access_reads_the_docker_clients_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    environ = {"DOCKER_HOST": "tcp://web1:99", "DOCKER_CERT_PATH": str(tmp_path)}
    assert not default_access(environ).uses_tls
    access = default_access({**environ, "DOCKER_TLS_VERIFY": "1"})
    assert (access.uses_tls, access.tls_ca, access.tls_key) == (True, "CA", "")
