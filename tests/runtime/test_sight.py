"""One container that is seen at several places."""

from __future__ import annotations

import pytest

from reconciler.plan.places import Places
from reconciler.plan.states import Container, Observed
from reconciler.runtime.fleet import _Sight


@pytest.mark.parametrize(
    ("made_for", "asked", "found"),
    [
        ("", ["local", "m1"], "local"),
        ("m1", ["local", "m1"], "m1"),
        ("m1", ["m1", "web1"], "m1"),
        ("gone", ["local", "m1"], "local"),
    ],
)
def test_engine_with_two_names(made_for: str, asked: list[str], found: str) -> None:
    sight = _Sight()
    for host in asked:  # what was made locally names no host, and is whoever's is asked
        one = Container("shop/api", "1", "shop-api", "dep", "running", "", host=made_for or host)
        sight.add(Places(hosts=(host,)), Observed({"shop/api": (one,)}))
    assert [one.host for one in sight.apps()["shop/api"]] == [found]
