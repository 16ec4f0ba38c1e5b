"""Builds on another machine, through ssh: what the CLI and the API need of the way there."""

from contextlib import closing

import pytest

from reconciler.host.engine import Engine
from tests.builder.conftest import MakeRecipe, Watched, make_backend
from tests.support.sshd import SshHost
from tests.support.tls import TlsEngine


@pytest.mark.parametrize("name", ["buildkit", "classic"])
def test_remote_build_by_ssh(
    name: str,
    ssh_host: SshHost,
    engine_by_ssh: Engine,
    make_recipe: MakeRecipe,
    watched: Watched,
) -> None:
    recipe = make_recipe("FROM busybox:stable\nCOPY f /f\n", {"f": "from here"})
    image_id = make_backend(name, engine_by_ssh).build(recipe, watched.job)
    assert ssh_host.engine.docker("run", "--rm", image_id, "cat", "/f") == "from here"
    ssh_host.engine.docker("rmi", *recipe.tags)


def test_remote_build_by_tls(
    tls_engine: TlsEngine, make_recipe: MakeRecipe, watched: Watched
) -> None:
    recipe = make_recipe("FROM busybox:stable\nCOPY f /f\n", {"f": "from here"})
    with closing(Engine(tls_engine.access)) as engine:
        image_id = make_backend("buildkit", engine).build(recipe, watched.job)
        assert engine.get(f"/images/{image_id}/json")["RepoTags"] == list(recipe.tags)
