"""The context as a tar stream. No engine."""

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from reconciler.builder.base import Recipe
from reconciler.builder.context import tar_context
from reconciler.errors import BuildError, Cancelled
from reconciler.host.job import Job
from tests.builder.conftest import write_files


def read(root: Path, job: Job | None = None) -> dict[str, tarfile.TarInfo]:
    recipe = Recipe("shop/api", root, root / "Dockerfile")
    content = b"".join(tar_context(recipe, job or Job()))
    assert len(content) % tarfile.BLOCKSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


def test_context_has_no_owner_and_no_socket(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": "", "f": "x"})
    os.chown(tmp_path / "f", os.getuid(), os.getgid())
    os.utime(tmp_path / "f", (-5.5, -5.5))
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        members = read(tmp_path)
    assert sorted(members) == ["Dockerfile", "f", "pipe"]
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members.values()} == {(0, 0, "", "")}


def test_context_hard_links_are_sent_once(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": "", "f": "x" * 5000})
    os.link(tmp_path / "f", tmp_path / "g")
    kinds = sorted(member.type for name, member in read(tmp_path).items() if name in "fg")
    assert kinds == [tarfile.REGTYPE, tarfile.LNKTYPE]


def test_context_dockerfile_is_sent_though_ignored(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": "", "f": "", ".dockerignore": "*\n!g\n", "g": ""})
    assert sorted(read(tmp_path)) == [".dockerignore", "Dockerfile", "g"]


def test_context_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": ""})
    (tmp_path / "f").write_bytes(b"x" * (3 << 20))
    recipe = Recipe("shop/api", tmp_path, tmp_path / "Dockerfile")

    def read_and_shrink() -> None:
        for piece in tar_context(recipe, Job()):
            if len(piece) == 1 << 20:
                os.truncate(tmp_path / "f", 100)

    with pytest.raises(BuildError, match="became shorter"):
        read_and_shrink()


def test_context_file_that_vanishes(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": ""})
    (tmp_path / "loop").symlink_to("nowhere")
    assert read(tmp_path)["loop"].linkname == "nowhere"
    recipe = Recipe("shop/api", tmp_path / "gone", tmp_path / "gone/Dockerfile")
    with pytest.raises(BuildError, match="gone in the build context can't be read"):
        list(tar_context(recipe, Job()))


def test_context_cancelled(tmp_path: Path) -> None:
    write_files(tmp_path, {"Dockerfile": "", "f": ""})
    job = Job()
    stream = tar_context(Recipe("shop/api", tmp_path, tmp_path / "Dockerfile"), job)
    next(stream)
    job.cancel.cancel(Cancelled("enough"))
    with pytest.raises(Cancelled):
        list(stream)
