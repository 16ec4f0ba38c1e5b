"""`include`: which files are read, where their paths start, and what they may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.spec.loader import load_spec
from reconciler.spec.models import FileRef, PathSource
from tests.spec.support import HEAD, lines_of, problems_of, write


def test_include_sorted_and_each_from_its_directory(tmp_path):
    path = write(
        tmp_path,
        {
            "apps.yaml": HEAD
            + "include: [apps/*.yaml, more.yaml]\napps: {m: {source: {path: .}}}\n",
            "apps/b.yaml": "apps: {b: {source: {path: .}}}\n",
            "apps/a.yaml": "apps: {a: {source: {path: .}}}\n",
            "apps/.hidden.yaml": "nonsense",
            "apps/dir.yaml/x": "",
            "more.yaml": "apps: {c: {source: {path: .}}}\n",
        },
    )
    loaded = load_spec(path)
    assert list(loaded.spec.apps) == ["m", "a", "b", "c"]
    assert [file.name for file in loaded.files] == ["apps.yaml", "a.yaml", "b.yaml", "more.yaml"]
    assert loaded.base_dir("a") == tmp_path / "apps"
    assert loaded.base_dir("c") == tmp_path


def test_include_pattern_that_matches_nothing(tmp_path):
    text = HEAD + "include: [apps/*.yaml, gone.yaml]\napps: {}\n"
    assert lines_of(write(tmp_path, {"apps.yaml": text})) == [
        "3:24 include[1]: there is no file gone.yaml"
    ]


def test_include_that_matches_nothing_is_not_no_apps(tmp_path):
    """The directory with all the apps vanished: that must not look like an empty spec."""
    path = write(tmp_path, {"apps.yaml": HEAD + "include: [apps/*.yaml]\n"})
    assert lines_of(path) == ["1:1 'apps' is missing (to have no apps, write 'apps: {}')"]


def test_include_passes_over_the_file_itself_and_repeats(tmp_path):
    text = HEAD + "include: ['*.yaml', 'a*.yaml', b.yaml]\napps: {m: {source: {path: .}}}\n"
    path = write(tmp_path, {"apps.yaml": text, "b.yaml": "apps: {b: {source: {path: .}}}\n"})
    (tmp_path / "again.yaml").symlink_to("b.yaml")
    assert sorted(load_spec(path).spec.apps) == ["b", "m"]


def test_include_of_a_directory(tmp_path):
    path = write(tmp_path, {"apps.yaml": HEAD + "include: [apps]\napps: {}\n", "apps/x": ""})
    assert lines_of(path) == ["0:0 this is a directory (name the file in it)"]


def test_include_two_stars(tmp_path):
    path = write(tmp_path, {"apps.yaml": HEAD + "include: ['**/a.yaml']\napps: {}\n"})
    assert lines_of(path) == [
        "3:11 include[0]: '**' isn't possible (write one * for each directory)"
    ]


@pytest.mark.parametrize("link", ["apps/a.yaml", "apps"])
def test_include_that_leaves_by_a_link(tmp_path, link):
    outside = tmp_path / "outside"
    write(outside, {"a.yaml": "apps: {a: {source: {path: .}}}\n"})
    path = write(tmp_path / "in", {"apps.yaml": HEAD + "include: [apps/*.yaml]\napps: {}\n"})
    target = tmp_path / "in" / link
    target.parent.mkdir(exist_ok=True)
    target.symlink_to(outside if link == "apps" else outside / "a.yaml")
    assert lines_of(path) == [
        "3:11 include[0]: apps/a.yaml leads outside this file's directory by a symbolic link"
    ]


def test_include_link_to_a_sibling_with_the_same_beginning(tmp_path):
    write(tmp_path / "in-other", {"a.yaml": "apps: {}\n"})
    path = write(tmp_path / "in", {"apps.yaml": HEAD + "include: [a.yaml]\napps: {}\n"})
    (tmp_path / "in" / "a.yaml").symlink_to("../in-other/a.yaml")
    assert "leads outside" in lines_of(path)[0]


def test_included_file_has_apps_only(tmp_path):
    path = write(
        tmp_path,
        {
            "apps.yaml": HEAD + "include: [a.yaml, b.yaml, c.yaml]\napps: {}\n",
            "a.yaml": "project: shop\napps: {}\ndefaults: {}\n",
            "b.yaml": "[]\n",
            "c.yaml": "",
        },
    )
    assert [f"{Path(one.file).name} {one.message}" for one in problems_of(path)] == [
        "a.yaml this field isn't possible here",
        "a.yaml this field isn't possible here",
        "b.yaml expected a mapping with apps, got a list",
        "c.yaml the file is empty; that never removes anything",
    ]


def test_app_declared_in_two_files(tmp_path, monkeypatch):
    write(
        tmp_path,
        {
            "apps.yaml": HEAD + "include: [apps/*.yaml]\napps:\n  api: {source: {path: .}}\n",
            "apps/a.yaml": "apps:\n\n  api: {source: {path: .}}\n",
        },
    )
    monkeypatch.chdir(tmp_path)
    (problem,) = problems_of(Path("apps.yaml"))
    assert str(problem) == ("apps/a.yaml:3:3: apps.api: declared twice; first at apps.yaml:5:3")


def test_problems_of_all_files_in_their_order(tmp_path, monkeypatch):
    write(
        tmp_path,
        {
            "apps.yaml": HEAD + "prun: true\ninclude: [b.yaml, a.yaml]\napps: {x: {}}\n",
            "a.yaml": "apps: {a: {source: {path: .}, ports: ['80:80']}, b: {helth: }}\n",
            "b.yaml": "apps: {c: {source: {path: .}, ports: ['80:81']}}\n\tx: 1\n",
        },
    )
    monkeypatch.chdir(tmp_path)
    assert [f"{one.file}:{one.line}" for one in problems_of(Path("apps.yaml"))] == [
        "apps.yaml:3",
        "apps.yaml:5",
        "a.yaml:1",
        "a.yaml:1",
        "b.yaml:2",
    ]


def test_ports_that_clash_between_files(tmp_path, monkeypatch):
    app = "apps: {NAME: {source: {path: .}, ports: ['80:80']}}\n"
    write(
        tmp_path,
        {
            "apps.yaml": HEAD + "include: ['*.yaml']\n",
            "a.yaml": app.replace("NAME", "a"),
            "b.yaml": app.replace("NAME", "b"),
        },
    )
    monkeypatch.chdir(tmp_path)
    (problem,) = problems_of(Path("apps.yaml"))
    assert problem.file == "b.yaml"
    assert problem.message.endswith("published by app a, at a.yaml:1:39")


def test_paths_in_defaults_start_from_their_own_file(tmp_path):
    defaults = (
        "defaults:\n  env: {A: {file: secrets/a}, B: {file: /b}, C: {file: ~/c}}\n"
        "  volumes: ['./data:/data:ro', 'named:/n', '/abs:/abs', '.:/here']\n"
        "  source: {path: .}\n"
    )
    path = write(
        tmp_path,
        {
            "apps.yaml": HEAD + defaults + "include: [x/*.yaml]\napps: {main: {}}\n",
            "x/a.yaml": "apps: {a: {env: {D: {file: d}}}, b: {source: {path: ./b}}}\n",
        },
    )
    apps = load_spec(path).spec.apps
    assert apps["main"].env["A"] == FileRef(file="secrets/a")
    assert apps["main"].volumes[0] == "./data:/data:ro"
    files = {name: ref.file for name, ref in apps["a"].env.items()}
    assert files == {"A": "../secrets/a", "B": "/b", "C": "~/c", "D": "d"}
    assert apps["a"].volumes == ("../data:/data:ro", "named:/n", "/abs:/abs", "..:/here")
    assert apps["a"].source == PathSource(path="..")
    assert apps["b"].source == PathSource(path="./b")
