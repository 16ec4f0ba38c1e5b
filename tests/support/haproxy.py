"""Debian's haproxy as an image, made without any registry."""

import fcntl
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.support.engine import SBIN, PrivateEngine, docker_cli

HAPROXY_IMAGE = "haproxy:2.8-alpine"
"""What the spec's default names; in here it is Debian's version."""


def make_haproxy_image(engine: PrivateEngine, name: str = HAPROXY_IMAGE) -> str:
    """Make `name`, unless it's there; any number of processes may ask at once."""
    with (engine.home / "haproxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not engine.docker("image", "ls", "-q", name):
            argv = [docker_cli(), "import", "--change", 'ENTRYPOINT ["haproxy"]', "-", name]
            subprocess.run(argv, input=_image_tar(), env=engine.env(), check=True, timeout=60)
    return name


def _image_tar() -> bytes:
    """haproxy, the libraries that it names, and users."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:{SBIN}")
    if program is None:
        raise RuntimeError("haproxy is missing: apt-get install --no-install-recommends haproxy")
    named = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = [word for word in named.split() if word.startswith("/")]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        _add(tar, program, "usr/local/sbin/haproxy")
        for library in libraries:
            _add(tar, library, library.lstrip("/"))
        for directory in ("tmp", "proxy"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return data.getvalue()


def _add(tar: tarfile.TarFile, source: str, name: str) -> None:
    tar.add(str(Path(source).resolve()), name, filter=_owned_by_root)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry
