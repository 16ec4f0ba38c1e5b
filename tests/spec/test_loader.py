"""What comes out of a valid file: values exactly as written, defaults laid under, facts."""

from __future__ import annotations

import gc
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from reconciler.spec.loader import load_spec, load_text
from reconciler.spec.models import App, EnvRef, FileRef, GitSource, Health, ImageSource, PathSource
from tests.spec.support import HEAD, ONE_APP, lines_of, load, load_app, write


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
    assert apps["b"] == replace(apps["a"], suspend=False, env={"A": "1", "B": "3"})
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
