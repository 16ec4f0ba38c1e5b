"""A spec in a file: edited all or none, and never a broken one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.engine.config_file import ConfigFile
from reconciler.errors import Locked, ReconcilerError, SpecError
from tests.engine.configurations import side_by_side
from tests.spec.support import write

MAIN = (
    "version: 1\nproject: shop\ninclude: [apps/*.yaml]\n"
    "apps:  # the main ones\n  api: {source: {path: .}, env: {A: 'one'}}\n"
)
MORE = "apps: {more: {source: {path: .}, env: {A: 'one'}}}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found: Path = write(tmp_path / "spec", {"apps.yaml": MAIN, "apps/more.yaml": MORE})
    return found


@pytest.fixture
def configuration(path: Path, state_dir: Path) -> ConfigFile:
    return ConfigFile(path, state_dir)


def put(before: bytes, after: bytes):
    return lambda texts: {one: text.replace(before, after) for one, text in texts.items()}


def env(configuration: ConfigFile, app: str = "api") -> object:
    return configuration.load().spec.apps[app].env["A"]


def test_edit_of_two_files(configuration: ConfigFile, path: Path) -> None:
    configuration.edit(put(b"'one'", b"'two'"), "why")
    assert env(configuration) == env(configuration, "more") == "two"
    assert b"# the main ones" in path.read_bytes()
    assert configuration.files == (path, path.parent / "apps/more.yaml")
    assert not list(path.parent.rglob(".*"))


def test_edit_keeps_mode_owner_and_link(configuration: ConfigFile, path: Path) -> None:
    real = path.with_name("real.yaml")
    path.rename(real)
    path.symlink_to("real.yaml")
    real.chmod(0o640)
    os.chown(real, 12, 34)
    configuration.edit(put(b"'one'", b"'two'"), "why")
    assert path.is_symlink()
    found = real.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 12, 34)
    assert env(configuration) == "two"


def test_edit_that_would_break_the_spec(configuration: ConfigFile, path: Path) -> None:
    with pytest.raises(SpecError, match=r"apps/more\.yaml:1:"):
        configuration.edit(put(b"more:", b"More!:"), "why")
    with pytest.raises(ValueError, match="no file of the spec"):
        configuration.edit(lambda _: {path.with_name("new.yaml"): b""}, "why")
    assert path.read_text() == MAIN
    assert (path.parent / "apps/more.yaml").read_text() == MORE


def test_edit_that_changes_nothing(configuration: ConfigFile, path: Path) -> None:
    before = path.stat()
    configuration.edit(lambda texts: texts, "why")
    assert path.stat() == before


def test_edit_of_a_file_that_somebody_else_changes(configuration: ConfigFile, path: Path) -> None:
    rivals = iter(["'mine'", "'again'"])

    def change(texts):
        if rival := next(rivals, ""):
            path.write_text(MAIN.replace("api:", f"x{rival[1]}: {{source: {{path: .}}}}\n  api:"))
        return put(b"'one'", b"'two'")(texts)

    configuration.edit(change, "why")
    assert "xa" in configuration.load().spec.apps
    assert env(configuration) == "two"


def test_edit_of_a_file_that_never_rests(configuration: ConfigFile, path: Path) -> None:
    def change(texts):
        path.write_text(path.read_text() + "#\n")
        return put(b"'one'", b"'two'")(texts)

    with pytest.raises(Locked):
        configuration.edit(change, "why")
    assert env(configuration) == "one"


def test_edit_that_fails_half_way(configuration: ConfigFile, path: Path, state_dir: Path) -> None:
    """The second file is a mount point, which can't be replaced."""
    second = path.parent / "apps/more.yaml"
    other = path.with_name("other")
    other.write_text(MORE)
    os.system(f"mount --bind {other} {second}")
    try:
        with pytest.raises(ReconcilerError, match="can't be replaced"):
            configuration.edit(put(b"'one'", b"'two'"), "why")
    finally:
        os.system(f"umount {second}")
    assert path.read_text() == MAIN
    assert not list(path.parent.rglob(".*"))


def test_two_editors_at_once(path: Path, state_dir: Path) -> None:
    path.write_text(MAIN.replace("{A: 'one'}", "{A: '0'}"))

    def count_up(texts):
        old = next(iter(texts.values()))
        number = int(old.partition(b"{A: '")[2].partition(b"'")[0])
        return put(b"{A: '%d'}" % number, b"{A: '%d'}" % (number + 1))(texts)

    def work() -> None:
        configuration = ConfigFile(path, state_dir)
        for _ in range(5):
            configuration.edit(count_up, "why")

    side_by_side(work, work, work)
    assert env(ConfigFile(path, state_dir)) == "15"
