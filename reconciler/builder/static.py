"""Build type `static`: a directory of the source, served as files by busybox httpd.

The Dockerfile is generated into the context, beside a `.dockerignore` of its own: the user's
lines, and then what must never be served. Both backends read `<Dockerfile>.dockerignore`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from reconciler.builder.base import Prepared
from reconciler.builder.context import read_ignored
from reconciler.builder.dockerfile import resolve_inside
from reconciler.errors import BuildError
from reconciler.spec.models import Build

SERVER = "busybox:stable"
PORT = 8080
_NAME = ".reconciler-static"
_NEVER_SERVED = (".git", ".gitignore", ".gitmodules", ".dockerignore", ".env", f"{_NAME}*")
_SPECIAL = re.compile(r"[$*?\[\\\"'\x00-\x1f]")
"""Characters that a Dockerfile expands, matches or drops in the source of a COPY."""

_TYPES = {
    "avif": "image/avif",
    "ico": "image/x-icon",
    "json": "application/json",
    "map": "application/json",
    "mjs": "text/javascript",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "text/xml",
}
"""What browsers insist on and busybox doesn't know. A server image of the user's has its own."""


class StaticBuilder:
    """Serves `build.static` on port 8080."""

    def prepare(self, app: str, build: Build, context: Path) -> Prepared:
        """Write the Dockerfile that copies the directory into the server's image."""
        root = context.resolve()
        directory = build.static or "."
        served = resolve_inside(root, directory, app, "build.static")
        if not served.is_dir():
            raise BuildError(
                f"build.static is {directory!r}, which is no directory in the build context",
                app=app,
                todo="Commit the directory, or correct build.static or source.subdir.",
            )
        inside = served.relative_to(root).as_posix()
        if _SPECIAL.search(inside):
            raise BuildError(
                f"build.static is {inside!r}, which has one of the characters $ * ? [ \\ \" '",
                app=app,
                todo="Rename the directory.",
            )
        text = make_dockerfile(inside, build.server)
        path = _free_name(root, text)
        ignored = read_ignored(root / ".dockerignore")
        ignored += [pattern for name in _NEVER_SERVED for pattern in (name, f"**/{name}")]
        path.with_name(f"{path.name}.dockerignore").write_text("\n".join(ignored) + "\n")
        path.write_text(text)
        return Prepared(root, path)


def make_dockerfile(directory: str, server: str | None) -> str:
    """The Dockerfile that serves `directory`, relative to the context.

    busybox httpd has no handler for any signal that ends it, and the kernel keeps a container's
    first process from dying of one that it doesn't handle. SIGKILL alone ends it; there is
    nothing to finish, as each request is a process of its own that sends one file.
    """
    types = [f".{ending}:{kind}" for ending, kind in _TYPES.items()]
    settings = f"RUN printf '%s\\n' {' '.join(types)} >>/etc/httpd.conf\n"
    copied = json.dumps([f"{directory}/", "/www/"], ensure_ascii=False)
    command = json.dumps(["httpd", "-f", "-p", str(PORT), "-h", "/www"])
    return (
        f"FROM {server or SERVER}\n"
        f"{'' if server else settings}"
        f"COPY {copied}\n"
        f"EXPOSE {PORT}\n"
        "STOPSIGNAL SIGKILL\n"
        "ENTRYPOINT []\n"
        f"CMD {command}\n"
    )


def _free_name(root: Path, text: str) -> Path:
    """A name that the source doesn't use; what an earlier run wrote is written again."""
    number, path = 0, root / _NAME
    while path.is_symlink() or (path.exists() and path.read_text(errors="replace") != text):
        number += 1
        path = root / f"{_NAME}-{number}"
    return path
