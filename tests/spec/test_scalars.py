"""Durations, sizes, ports, volumes: text to values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.spec.checks import _find_rival, _Published
from reconciler.spec.scalars import Port, parse_port, parse_volume, seconds, size_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("250ms", 0.25), ("1d", 86400), ("0s", 0)],
)
def test_seconds(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "10", "s", "10 s", "1w", "-1s", "1.s", "366d", "1e3s", "10S"])
def test_seconds_refuses(text):
    with pytest.raises(ValueError, match="expected"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512m", 512 << 20),
        ("1g", 1 << 30),
        ("64KiB", 64 << 10),
        ("1.5 MB", 3 << 19),
        ("2t", 2 << 40),
        ("100", 100),
        ("7b", 7),
    ],
)
def test_size_bytes(text, value):
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "m", "1x", "-1m", "1e9", "9" * 400])
def test_size_bytes_refuses(text):
    with pytest.raises(ValueError, match="expected a size"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080:80", Port("", 8080, 80, "tcp")),
        ("127.0.0.1:53:5353/udp", Port("127.0.0.1", 53, 5353, "udp")),
        ("[::1]:80:8080/tcp", Port("[::1]", 80, 8080, "tcp")),
        ("[0:0::0]:80:80", Port("[::]", 80, 80, "tcp")),
    ],
)
def test_parse_port(text, port):
    assert parse_port(text) == port


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("80:1", "80:2", True),
        ("80:1", "81:1", False),
        ("80:1", "80:1/udp", False),
        ("80:1", "127.0.0.1:80:2", True),
        ("127.0.0.1:80:1", "0.0.0.0:80:1", True),
        ("127.0.0.1:80:1", "127.0.0.2:80:1", False),
        ("[::]:80:1", "[::1]:80:1", True),
    ],
)
def test_ports_clash_both_ways(one, other, clash):
    assert parse_port(one).clashes(parse_port(other)) is clash
    assert parse_port(other).clashes(parse_port(one)) is clash


@given(st.lists(st.sampled_from(["", "0.0.0.0", "[::]", "127.0.0.1", "127.0.0.2", "[::1]"])))
def test_rival_is_found_without_a_search(addresses):
    """The index by address finds a clash exactly when comparing all with all does."""
    rivals: dict[str, _Published] = {}
    seen: list[Port] = []
    for index, address in enumerate(addresses):
        port = Port(address, 80, 80, "tcp")
        expected = any(other.clashes(port) for other in seen)
        assert bool(_find_rival(rivals, port)) is expected
        rivals.setdefault(address, _Published(port, "app", index))
        seen.append(port)


@pytest.mark.parametrize(
    ("text", "source", "target", "read_only", "bind"),
    [
        ("data:/data", "data", "/data", False, False),
        ("data:/data:ro", "data", "/data", True, False),
        ("./a:/a:rw", "./a", "/a", False, True),
        ("../a:/a", "../a", "/a", False, True),
        ("/a:/b", "/a", "/b", False, True),
        ("~/a:/b", "~/a", "/b", False, True),
        ("~:/b", "~", "/b", False, True),
        (".:/b", ".", "/b", False, True),
    ],
)
def test_parse_volume(text, source, target, read_only, bind):
    volume = parse_volume(text)
    assert (volume.source, volume.target, volume.read_only) == (source, target, read_only)
    assert volume.is_bind is bind


@given(st.text(max_size=30), st.sampled_from([seconds, size_bytes, parse_port, parse_volume]))
def test_scalars_refuse_with_value_error_only(text, parse):
    with contextlib.suppress(ValueError):
        parse(text)
