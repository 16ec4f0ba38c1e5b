"""What comes out of a valid file: values exactly as written, defaults laid under, facts."""

from __future__ import annotations

import gc
import os
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.errors import SpecError
from reconciler.spec.loader import load_spec, load_text
from reconciler.spec.models import App, EnvRef, FileRef, GitSource, Health, ImageSource, PathSource
from tests.spec.support import HEAD, ONE_APP, lines_of, load, load_app, problems_of, write


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.10", "1.10"),
        ("0644", "0644"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("True", "True"),
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("22:22", "22:22"),
        ("2024-01-31", "2024-01-31"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("-0", "-0"),
        ("=", "="),
        ('""', ""),
        ("''", ""),
        ('"null"', "null"),
        ("'it''s'", "it's"),
        ('"a\\tb\\n"', "a\tb\n"),
        ("two words # comment", "two words"),
        ("a#b", "a#b"),
        ("héllo ✓", "héllo ✓"),
        ("|\n        a\n          b\n", "a\n  b\n"),
        (">-\n        a\n        b\n", "a b"),
        ("!!str 12", "12"),
    ],
)
def test_env_value_is_as_written(written, value):
    assert load_app("env:", f"  A: {written}").env == {"A": value}


def test_args_and_labels_are_as_written():
    app = load_app("build: {args: {A: 1.10, B: yes, C: on}}", "labels: {a.b: 007, c: false}")
    assert app.build.args == {"A": "1.10", "B": "yes", "C": "on"}
    assert app.labels == {"a.b": "007", "c": "false"}


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "22:22", "2024-01-31", "1_000", "0x"])
def test_text_field_takes_what_yaml_1_2_calls_text(word):
    assert load_app(f"title: {word}").title == word


@pytest.mark.parametrize(("word", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_flag_words(word, value):
    assert load_app(f"suspend: {word}").suspend is value


def test_ports_need_no_quotes():
    assert load_app("ports: [22:22, 8080:80]").ports == ("22:22", "8080:80")


def test_numbers():
    app = load_app("resources: {cpus: 1, pids: +200}", "retention: {images: 7}")
    assert (app.resources.cpus, app.resources.pids, app.retention.images) == (1.0, 200, 7)
    assert load_app("resources: {cpus: 2.5e-1}").resources.cpus == 0.25


def test_references():
    app = load_app("env: {A: {env: NAME}, B: {file: ~/x}}", "build: {secrets: {t: {file: t}}}")
    assert app.env == {"A": EnvRef(env="NAME"), "B": FileRef(file="~/x")}
    assert app.build.secrets == {"t": FileRef(file="t")}


def test_null_takes_an_optional_field_back():
    text = HEAD + "defaults: {command: [a], health: {http: {port: 1}}}\napps:\n"
    text += "  api: {source: {path: .}, command: null, health: {http: , tcp: 2}}\n"
    app = load(text).spec.apps["api"]
    assert app.command is None
    assert app.health == Health(tcp=2)


def test_paths_are_normalised():
    source = load(HEAD + "apps: {a: {source: {git: /x, subdir: ./a//b/, watch: [./, c/.]}}}")
    assert source.spec.apps["a"].source == GitSource(git="/x", subdir="a/b", watch=(".", "c"))


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/a.git",
        "https://user:hunter2@git.example.com:8443/a.git",
        "ssh://git@git.example.com:22/a.git",
        "git@git.example.com:shop/a.git",
        "git.example.com:a.git",
        "file:///srv/a.git",
        "/srv/a.git",
        "https://[::1]:3000/a.git",
        "HTTPS://git.example.com/a.git",
    ],
)
def test_git_urls_that_are_accepted(url):
    assert load(HEAD + f"apps: {{a: {{source: {{git: '{url}'}}}}}}").spec.apps["a"].source == (
        GitSource(git=url)
    )


def test_merge_keys_and_aliases():
    text = HEAD + (
        "apps:\n"
        "  a: &a\n    source: &here {path: .}\n    env: &env {A: 1, B: 2}\n    suspend: true\n"
        "  b:\n    <<: *a\n    suspend: false\n    env:\n      <<: *env\n      B: 3\n"
        "  c: {<<: [{title: first}, {title: second, suspend: true}], source: *here}\n"
        "  d: {source: *here, env: {'<<': text}}\n"
    )
    apps = load(text).spec.apps
    assert apps["b"] == apps["a"].model_copy(update={"suspend": False, "env": {"A": "1", "B": "3"}})
    assert (apps["c"].title, apps["c"].suspend) == ("first", True)
    assert apps["d"].env == {"<<": "text"}


def test_explicit_standard_tags():
    text = HEAD + "apps: !!map\n  a:\n    source: {path: !!str .}\n    ports: !!seq ['80:80']\n"
    assert load(text).spec.apps["a"].ports == ("80:80",)


def test_byte_order_mark_and_crlf():
    text = "\ufeff" + ONE_APP.replace("\n", "\r\n")
    assert load(text).spec == load(ONE_APP).spec
    assert "2:1 projekt: there" in lines_of("\ufeffversion: 1\nprojekt: x\napps: {}\n")[1]


def test_no_apps_written_out():
    assert load(HEAD + "apps: {}\n").spec.apps == {}


def test_suspended_apps_are_apps():
    assert load_app("suspend: true").suspend


# --- defaults


def _merged(defaults: str, app: str) -> App:
    text = HEAD + f"defaults: {defaults}\napps: {{api: {app}}}\n"
    return load(text).spec.apps["api"]


def test_defaults_are_merged_by_key():
    app = _merged(
        "{env: {A: 1, B: 2}, resources: {memory: 1g}, ports: ['1:1'], restart: 'no'}",
        "{source: {path: .}, env: {B: 3}, resources: {cpus: 2}, ports: ['2:2']}",
    )
    assert app.env == {"A": "1", "B": "3"}
    assert (app.resources.memory, app.resources.cpus) == ("1g", 2.0)
    assert app.ports == ("2:2",)
    assert app.restart == "no"


def test_defaults_source_is_completed():
    app = _merged("{source: {git: /srv/x, watch: [lib]}}", "{source: {subdir: web}}")
    assert app.source == GitSource(git="/srv/x", subdir="web", watch=("lib",))


def test_defaults_source_stands_for_apps_without_one():
    assert _merged("{source: {git: /srv/x}}", "{}").source == GitSource(git="/srv/x")


def test_defaults_source_of_another_kind_is_replaced():
    app = _merged("{source: {git: /srv/x, watch: [lib]}, revision: main}", "{source: {path: ./a}}")
    assert app.source == PathSource(path="./a")
    assert app.revision is None


def test_defaults_for_builds_pass_by_ready_images():
    app = _merged(
        "{build: {target: x}, image: {repository: a/b}, env_file: true, restart: always}",
        "{source: {image: nginx}}",
    )
    assert app == App(source=ImageSource(image="nginx"), restart="always")


def test_defaults_reference_is_replaced_whole():
    app = _merged(
        "{env: {A: {file: x}, B: {env: X}, C: text}}",
        "{source: {path: .}, env: {A: {env: Y}, B: text, C: {file: y}}}",
    )
    assert app.env == {"A": EnvRef(env="Y"), "B": "text", "C": FileRef(file="y")}


@pytest.mark.parametrize(
    ("defaults", "app"),
    [
        ("{health: {http: {port: 1}, timeout: 5s}}", "{health: {tcp: 2}}"),
        ("{health: {tcp: 1}}", "{health: {command: [a]}}"),
        ("{build: {dockerfile: D, target: t, args: {A: 1}}}", "{build: {static: public}}"),
        ("{build: {static: public, server: busybox}}", "{build: {target: t}}"),
    ],
)
def test_defaults_that_exclude_what_the_app_says_are_dropped(defaults, app):
    assert _merged(defaults, "{source: {path: .}, " + app[1:])


def test_defaults_timeout_stays_beside_another_check():
    app = _merged(
        "{health: {http: {port: 1}, timeout: 5s}}", "{source: {path: .}, health: {tcp: 2}}"
    )
    assert app.health == Health(tcp=2, timeout="5s")


def test_defaults_are_kept_as_plain_data():
    loaded = load(HEAD + "defaults: {env: {A: 1.10}, image: {push: true}}\napps: {}\n")
    assert loaded.spec.defaults == {"env": {"A": "1.10"}, "image": {"push": True}}


def test_defaults_mistake_is_reported_once_for_many_apps():
    apps = "".join(f"  a{index}: {{source: {{path: .}}}}\n" for index in range(20))
    assert lines_of(HEAD + "defaults: {restart: x, env: {A: }}\napps:\n" + apps) == [
        "3:21 defaults.restart: expected no, always, unless-stopped or on-failure[:times], got 'x'",
        '3:33 defaults.env.A: expected a value, got nothing (write "" for an empty one)',
    ]


# --- the loaded spec


def test_loaded_spec_facts(tmp_path, monkeypatch):
    path = write(tmp_path, {"apps.yaml": ONE_APP})
    monkeypatch.chdir(tmp_path)
    loaded = load_spec(Path("apps.yaml"))
    assert loaded.path == path
    assert loaded.files == (path,)
    assert loaded.base_dir("api") == loaded.base_dir("unknown") == tmp_path
    assert dict(loaded.base_dirs) == {"api": tmp_path}
    with pytest.raises(AttributeError):
        loaded.path = tmp_path  # type: ignore[misc]


def test_digest_follows_content_and_names(tmp_path):
    one = load_spec(write(tmp_path / "a", {"apps.yaml": ONE_APP})).digest
    same = load_spec(write(tmp_path / "b", {"apps.yaml": ONE_APP})).digest
    other = load_spec(write(tmp_path / "c", {"apps.yaml": ONE_APP + "\n"})).digest
    assert one == same != other
    assert len(one) == len(sha256().hexdigest())


def test_load_text_takes_a_directory(tmp_path):
    write(tmp_path, {"apps/a.yaml": "apps: {a: {source: {path: .}}}\n"})
    text = (HEAD + "include: [apps/*.yaml]\n").encode()
    loaded = load_text(text, "config:apps.yaml", tmp_path)
    assert loaded.path == tmp_path / "config:apps.yaml"
    assert loaded.base_dir("a") == tmp_path / "apps"


def test_loading_leaves_the_collector_as_it_was():
    load(ONE_APP)
    assert gc.isenabled()
    gc.disable()
    try:
        load(ONE_APP)
        assert not gc.isenabled()
    finally:
        gc.enable()


# --- files that can't be read


def test_missing_file_names_init(tmp_path):
    with pytest.raises(SpecError, match="reconcile init"):
        load_spec(tmp_path / "apps.yaml")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "this is a directory"),
        ("x/apps.yaml", "can't be read: Not a directory"),
        ("a" * 300, "can't be read: File name too long"),
        ("a\0b", "not a file's name"),
        ("pipe", "not a regular file"),
    ],
)
def test_unreadable_file(tmp_path, name, words):
    (tmp_path / "x").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (problem,) = problems_of(tmp_path / name)
    assert words in problem.message
    assert (problem.line, problem.column) == (0, 0)


# --- bytes that are no text


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"version: 1\nproject: caf\xe9\n", "2:13 not UTF-8: byte 0xe9 at offset 23"),
        (b"\xef\xbb\xbfa: \xff", "1:4 not UTF-8: byte 0xff at offset 3"),
        (b"a: \xed\xa0\x80", "1:4 not UTF-8: byte 0xed at offset 3"),
        (b"\xff\xfea\x00", "0:0 the file is UTF-16"),
        (b"\xfe\xff\x00a", "0:0 the file is UTF-16"),
        (b"a: 1\nb: x\x00y\n", "2:5 the character U+0000 isn't allowed here"),
        (b"a: \x1b[31m", "1:4 the character U+001B isn't allowed here"),
        ("a: b\ufeff".encode(), "1:5 the character U+FEFF isn't allowed here"),
        (b"", "0:0 the file is empty; that never removes anything"),
        (b"\n \n# x\n---\n", "5:1 expected a mapping with version, project and apps, got nothing"),
        (b"%FOO\n---\na: 1\n", "1:5 not valid YAML: found unknown directive name"),
    ],
)
def test_bytes_that_are_no_spec(data, line):
    (found,) = lines_of(data)
    assert found.startswith(line)


def test_file_of_ten_megabytes():
    assert lines_of(b"a: 1\n" * 2_000_000) == [
        "0:0 the file is larger than 2 MiB (split it with 'include')"
    ]


def test_huge_file_is_not_read_whole(tmp_path):
    path = tmp_path / "apps.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than 2 MiB" in problems_of(path)[0].message


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? "])
def test_deep_nesting(unit):
    (problem,) = problems_of(unit * 500_000)
    assert problem.message == "nested more than 50 deep"
    assert problem.line == 1


def test_too_many_values():
    (problem,) = problems_of("a: [" + "x," * 250_000 + "]")
    assert problem.message.startswith("more than 200,000 values")


def test_alias_bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for index in range(1, 30):
        items = ", ".join([f"*a{index - 1}"] * 10)
        lines.append(f"a{index}: &a{index} [{items}]")
    found = problems_of("\n".join(lines))
    assert [one.message for one in found] == ["aliases (*) make more than 200,000 values of this"]


@pytest.mark.parametrize("link", ["[*a{}]", "{{x: *a{}}}", "{{<<: *a{}}}"])
def test_aliases_nested_very_deep(link):
    """Each is shallow where it stands; written out they are 300 deep."""
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{n}: &a{n} {link.format(n - 1)}" for n in range(1, 300)]
    (problem,) = problems_of(HEAD + "apps: {}\n" + "\n".join(lines))
    assert problem.message == "aliases (*) make this more than 50 deep"


def test_many_unknown_fields_are_found_quickly():
    text = HEAD + "apps:\n  api:\n" + "".join(f"    f{n:05}: x\n" for n in range(20_000))
    found = problems_of(text)
    assert len(found) == 20_001


# --- include


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
