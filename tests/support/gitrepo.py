"""Real git repositories for tests, with an identity and a clock that never change."""

import itertools
import os
import subprocess
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Test Author",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "Test Author",
    "GIT_COMMITTER_EMAIL": "author@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


class GitRepo:
    """A working repository at `path`, on branch `main`; `url` is its file:// address.

    Each commit is a minute later than the one before, so shas depend on content alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file://{path}"
        self._clock = itertools.count(1_700_000_000, 60)
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *argv: str | Path) -> str:
        """Run git here; its standard output, stripped. Raises with what git said."""
        date = f"@{next(self._clock)} +0000"
        env = os.environ | _IDENTITY | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *map(str, argv)],
            cwd=self.path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"git {argv} exited with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def write(self, files: dict[str, str | bytes | None]) -> None:
        """Write files without committing; None removes one."""
        for name, content in files.items():
            target = self.path / name
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes | None] | None = None, message: str = "") -> str:
        """Write `files` and commit everything, an empty commit included; the full sha."""
        self.write(files or {})
        self.git("add", "--all")
        self.git(
            "commit", "-q", "--allow-empty", "-m", message or f"Change {', '.join(files or {})}"
        )
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str, message: str = "") -> None:
        """A tag on HEAD: lightweight, or annotated when there is a message."""
        self.git("tag", *(["-a", "-m", message] if message else []), "--", name)

    def branch(self, name: str) -> None:
        """Create a branch at HEAD and switch to it."""
        self.git("switch", "-q", "-c", name)

    def switch(self, name: str) -> None:
        self.git("switch", "-q", name)
