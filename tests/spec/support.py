"""Helpers of these tests: load a text, and a problem as one line."""

from __future__ import annotations

from pathlib import Path

from reconciler.errors import Problem, SpecError
from reconciler.spec.loader import LoadedSpec, load_spec, load_text
from reconciler.spec.models import (
    App,
    Build,
    EnvRef,
    GitSource,
    Health,
    HttpCheck,
    Resources,
)

HEAD = "version: 1\nproject: shop\n"
ONE_APP = HEAD + "apps:\n  api:\n    source: {path: .}\n"

APP = App(
    title="Shop",
    source=GitSource(git="https://user:hunter2@git.example.com/a.git", watch=("lib",)),
    build=Build(args={"A": "hunter2"}, secrets={"t": EnvRef(env="T")}),
    env={"A": "hunter2", "B": EnvRef(env="B")},
    command=("serve", "hunter2"),
    ports=("80:80",),
    resources=Resources(cpus=1.5),
    health=Health(http=HttpCheck(port=80)),
)


def load(text: str | bytes) -> LoadedSpec:
    data = text.encode() if isinstance(text, str) else text
    return load_text(data, "apps.yaml")


def load_app(*lines: str) -> App:
    """The one app of a file whose app has these lines beside its source."""
    return load(ONE_APP + "".join(f"    {line}\n" for line in lines)).spec.apps["api"]


def problems_of(source: str | bytes | Path) -> list[Problem]:
    """What is wrong with a text, or with a file and what it includes."""
    try:
        if isinstance(source, Path):
            load_spec(source)
        else:
            load(source)
    except SpecError as error:
        return error.problems
    return []


def as_line(problem: Problem) -> str:
    """`5:3 apps.api: message (hint)`."""
    field = f" {problem.field}:" if problem.field else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.line}:{problem.column}{field} {problem.message}{hint}"


def lines_of(source: str | bytes | Path) -> list[str]:
    return [as_line(problem) for problem in problems_of(source)]


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files below `root`; returns the path of `apps.yaml` there."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "apps.yaml"
