"""The cache: an unchanged spec comes from it, equal in everything; whatever changes, doesn't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import SpecError
from reconciler.spec import cache, validation
from reconciler.spec.loader import LoadedSpec, load_spec
from tests.spec.support import HEAD, ONE_APP, write

ROOT = Path(__file__).parents[2]
TREE = {
    "apps.yaml": HEAD
    + "defaults: {source: {path: .}, env: {A: 1.10, F: {file: a}}, ports: ['1:1']}\n"
    + "include: [apps/*.yaml]\napps: {main: {command: [a, b], ports: []}}\n",
    "apps/a.yaml": "apps: {a: {ports: ['80:80'], resources: {cpus: 1}, command: null}}\n",
    "apps/b.yaml": "apps:\n  b:\n    health: {http: {port: 80}}\n"
    "    build: {secrets: {t: {env: T}}}\n    ports: []\n",
}


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "spec", TREE)


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def count(monkeypatch):
    """How often a spec was validated."""
    calls: list[int] = []
    validate = validation.spec_type().validator.validate_python

    class Counting:
        def validate_python(self, data):
            calls.append(1)
            return validate(data)

    monkeypatch.setattr(validation, "spec_type", Counting)
    return lambda: len(calls)


def _files(directory: Path) -> list[Path]:
    """The kept specs; each has a `.data` beside it, what the files said."""
    return sorted(directory.glob("*.json")) if directory.is_dir() else []


@pytest.mark.parametrize(
    "source", sorted(ROOT.glob("examples/*/apps.yaml")), ids=lambda one: one.parent.name
)
def test_example_from_the_cache_is_equal(source, kept, count):
    first = load_spec(source, kept)
    assert load_spec(source, kept) == first == load_spec(source)
    assert count() == 2


def test_spec_from_the_cache_is_equal(path, kept, count):
    first = load_spec(path, kept)
    again = load_spec(path, kept)
    assert count() == 1
    assert again == first
    assert again.files == first.files
    assert list(again.spec.apps) == list(again.base_dirs) == ["main", "a", "b"]
    assert again.base_dir("a") == path.parent / "apps"
    assert again.spec.apps["main"].env is not again.spec.apps["b"].env


def test_cached_spec_by_a_relative_path(path, kept, count, monkeypatch):
    first = load_spec(path, kept)
    monkeypatch.chdir(path.parent)
    assert load_spec(Path("apps.yaml"), kept) == first
    assert count() == 1


def _change_content(path: Path) -> None:
    path.write_text(path.read_text().replace("1.10", "1.1"))


def _change_included(path: Path) -> None:
    part = path.parent / "apps" / "a.yaml"
    part.write_text(part.read_text().replace("cpus: 1", "cpus: 2"))


def _add_included(path: Path) -> None:
    (path.parent / "apps" / "c.yaml").write_text("apps: {c: {ports: []}}\n")


def _remove_included(path: Path) -> None:
    (path.parent / "apps" / "b.yaml").unlink()


def _rename_included(path: Path) -> None:
    (path.parent / "apps" / "b.yaml").rename(path.parent / "apps" / "z.yaml")


def _include_less(path: Path) -> None:
    path.write_text(path.read_text().replace("apps/*", "apps/a"))


CHANGES = [
    _change_content,
    _change_included,
    _add_included,
    _remove_included,
    _rename_included,
    _include_less,
]


@pytest.mark.parametrize("change", CHANGES)
def test_change_is_seen(path, kept, count, change):
    before = load_spec(path, kept)
    change(path)
    after = load_spec(path, kept)
    assert count() == (1 if change is _rename_included else 2)  # the same apps in the same order
    assert after != before
    validated = count()
    assert after == load_spec(path) == load_spec(path, kept)
    assert count() == validated + 1


def test_other_version_of_the_program_reads_anew(path, kept, count, monkeypatch):
    load_spec(path, kept)
    monkeypatch.setattr(cache, "__version__", "0.0.0")
    load_spec(path, kept)
    assert count() == 2


def test_specs_in_two_places_are_kept_apart(tmp_path, kept, count):
    paths = [write(tmp_path / name, {"apps.yaml": ONE_APP}) for name in ("one", "other")]
    loaded = [load_spec(path, kept) for path in paths]
    assert [load_spec(path, kept) for path in paths] == loaded
    assert count() == len(_files(kept)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: data[:-1],
        lambda data: data.replace(b"80:80", b"81:80"),
        lambda data: data.partition(b"\n")[2],
        lambda data: b"\0" * len(data),
        lambda data: os.urandom(len(data)),
    ],
)
def test_damaged_cache_is_ignored_and_replaced(path, kept, count, damage):
    first = load_spec(path, kept)
    (file,) = _files(kept)
    file.write_bytes(damage(file.read_bytes()))
    assert load_spec(path, kept) == load_spec(path, kept) == first
    assert count() == 2


def test_cache_file_is_the_owners_alone_and_nothing_else_is_left(path, kept):
    load_spec(path, kept)
    (file,) = _files(kept)
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "apps: {a: {source: {git: 'https://u:hunter2@git.example.com/a.git'}}}\n",
        HEAD + "defaults: {source: {git: 'https://hunter2@git.example.com/a.git'}}\napps: {}\n",
        HEAD + "notify: {urls: ['slack://hunter2/a/b']}\napps: {}\n",
    ],
)
def test_password_in_a_url_is_not_written_down(tmp_path, kept, text):
    path = write(tmp_path, {"apps.yaml": text})
    assert load_spec(path, kept) == load_spec(path, kept)
    assert _files(kept) == []


def test_broken_spec_is_not_kept_and_not_replaced_by_the_last_good_one(path, kept):
    load_spec(path, kept)
    (file,) = _files(kept)
    before = file.read_bytes()
    path.write_text("version: 1\n")
    for _ in range(2):
        with pytest.raises(SpecError):
            load_spec(path, kept)
    path.unlink()
    with pytest.raises(SpecError, match="no such file"):
        load_spec(path, kept)
    assert file.read_bytes() == before


def test_link_that_now_leads_outside_is_refused(path, kept, tmp_path):
    load_spec(path, kept)
    part = path.parent / "apps" / "b.yaml"
    part.rename(tmp_path / "b.yaml")
    part.symlink_to(tmp_path / "b.yaml")
    with pytest.raises(SpecError, match="leads outside"):
        load_spec(path, kept)


def test_known_spec_is_the_answer_until_a_file_says_something_else(path, kept, count):
    known = load_spec(path, kept)
    assert load_spec(path, kept, known) is load_spec(path, None, known) is known
    moved = path.with_name("other.yaml")
    moved.write_bytes(path.read_bytes())
    assert load_spec(moved, None, known).path == moved
    (path.parent / "apps" / "c.yaml").write_text("{apps: {c: {source: {image: c}}}}")
    assert "c" in load_spec(path, kept, known).spec.apps
    path.write_text("apps: [")
    with pytest.raises(SpecError):
        load_spec(path, kept, known)


@pytest.mark.parametrize("make", ["file", "nowhere", "directory in the way"])
def test_cache_that_cannot_be_written_is_no_error(path, tmp_path, make):
    place = tmp_path / "place"
    if make == "file":
        place.write_text("")
    elif make == "nowhere":
        place = tmp_path / "not" / "there"
    else:
        cache._file_for(path, place).mkdir(parents=True)
    loaded: LoadedSpec = load_spec(path, place)
    assert loaded == load_spec(path, place)
    assert not (tmp_path / "not").exists()
    assert [file for file in _files(place) if file.is_file()] == []


def test_without_a_directory_nothing_is_kept(path, kept):
    load_spec(path)
    assert _files(kept) == []


EDITS = [
    ("A: one", "A: two", 1),
    ("A: one", "A: 'yes # no'", 1),
    ("A: one", "A: one, C: new", 2),
    ("A: one", "B: one", 2),
    ("A: one", "A: {file: x}", 2),
    ("F: {file: a}", "F: text", 2),
    ("'80:80'", "'81:80'", 2),
    ("A: one", "A: two}, title: {}", 2),
]


@pytest.mark.parametrize(("old", "new", "validations"), EDITS)
def test_edited_text_of_env_alone_needs_no_validation(tmp_path, kept, count, old, new, validations):
    text = (
        HEAD + "apps: {web: {source: {path: .}, ports: ['80:80'], env: {A: one, F: {file: a}}}}\n"
    )
    path = write(tmp_path, {"apps.yaml": text})
    load_spec(path, kept)
    path.write_text(text.replace(old, new).replace("}, title: {}, F: {file: a}}", "}, title: {}"))
    try:
        loaded = load_spec(path, kept)
    except SpecError:
        with pytest.raises(SpecError):
            load_spec(path)
        return
    assert count() == validations
    assert loaded == load_spec(path) == load_spec(path, kept)


def test_edited_text_is_still_refused_where_yaml_is(tmp_path, kept):
    text = HEAD + "apps: {web: {source: {path: .}, env: {A: one}}}\n"
    path = write(tmp_path, {"apps.yaml": text})
    load_spec(path, kept)
    for value in ("null", "[x]", '"a\\0b"'):
        path.write_text(text.replace("one", value))
        with pytest.raises(SpecError):
            load_spec(path, kept)


@pytest.mark.parametrize("apps", ["", "[a]", "a", "{web: }", "{web: a}", "{web: {env: A}}"])
def test_edit_of_another_shape_is_refused_as_without_a_cache(tmp_path, kept, apps):
    path = write(
        tmp_path, {"apps.yaml": f"{HEAD}apps: {{web: {{source: {{path: .}}, env: {{A: b}}}}}}\n"}
    )
    load_spec(path, kept)
    path.write_text(f"{HEAD}apps: {apps}\n")
    with pytest.raises(SpecError) as cached:
        load_spec(path, kept)
    with pytest.raises(SpecError) as plain:
        load_spec(path, None)
    assert str(cached.value) == str(plain.value)
