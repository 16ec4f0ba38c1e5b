"""The JSON Schema: up to date, valid itself, and of one mind with the loader."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import Field, TypeAdapter

from reconciler.spec import models
from reconciler.spec.declare import default_of, fields_of
from reconciler.spec.models import App, Spec
from reconciler.spec.schema import json_schema, schema_text
from reconciler.spec.starter import STARTER
from tests.spec.support import HEAD, ONE_APP, load, problems_of

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
FIELDS = [
    pytest.param(section, field, id=f"{section.__name__}.{name}")
    for section in vars(models).values()
    if isinstance(section, type)
    for name, field in fields_of(section).items()
]


class Yaml12(yaml.SafeLoader):
    """YAML as editors read it: 1.2, where yes is text and 22:22 is no number."""


Yaml12.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in [
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^<<$", "<"),
]:
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _complaints(text: str) -> list[str]:
    data = yaml.load(text, Loader=Yaml12)
    return [error.message for error in VALIDATOR.iter_errors(data)]


def test_schema_file_is_up_to_date():
    """Write it anew with: python -m reconciler schema > schemas/apps.schema.json"""
    assert (ROOT / "schemas" / "apps.schema.json").read_text() == schema_text()


def test_schema_is_valid_and_always_the_same():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema_text() == schema_text()


def test_included_schema_refers_to_what_is_there():
    included = json.loads((ROOT / "schemas" / "included.schema.json").read_text())
    Draft202012Validator.check_schema(included)
    file, _, pointer = included["$ref"].partition("#")
    assert (ROOT / "schemas" / file).is_file()
    assert pointer.rpartition("/")[2] in SCHEMA["$defs"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.yaml")), ids=str)
def test_schema_accepts_examples(path):
    text = path.read_text()
    if "included.schema.json" in text:
        text = HEAD + "defaults: {source: {path: .}}\n" + text
    assert _complaints(text) == []


@pytest.mark.parametrize(
    "text",
    [
        STARTER,
        ONE_APP,
        HEAD + "apps: {}\n",
        HEAD + "include: [apps/*.yaml]\n",
        HEAD + "defaults: {source: {git: /srv/x}, image: {push: true}}\napps: {a: {}}\n",
        HEAD + "defaults: {health: {http: {path: /x}}}\napps: {a: {source: {path: .}}}\n",
        ONE_APP + "    env: {A: 1.10, B: true, C: text, D: {env: X}, E: {file: x}}\n",
        HEAD + "defaults: {source: {subdir: x}, env: {A: {}}}\napps: {}\n",
        ONE_APP + "    command: null\n    health: {http: null}\n    title: null\n",
    ],
)
def test_schema_accepts(text):
    assert _complaints(text) == []


BROKEN = [
    "source: {path: ., git: /srv/x}",
    "source: {subdir: x}",
    "source: {path: ., submodules: true}",
    "source: ./api",
    "sourc: {path: .}",
    "ports: [8080]",
    "ports: ['80']",
    "volumes: [data]",
    "env: {A: null}",
    "env: {A: {env: X, file: y}}",
    "env: {A: {value: x}}",
    "env: {A: []}",
    "env: {'A=B': x}",
    "env: [A=1]",
    "labels: {reconciler.app: x}",
    "build: {args: {A: {env: X}}}",
    "build: {static: public, target: x}",
    "build: {dockerfile: ../x}",
    "build: {dockerfile: /x}",
    "build: {secrets: {t: text}}",
    "image: {push: true}",
    "image: {repository: 'a:b'}",
    "resources: {memory: 512}",
    "resources: {memory: lots}",
    "resources: {cpus: 0}",
    "health: {timeout: 10}",
    "health: {timeout: 10 seconds}",
    "health: {http: {path: /x}}",
    "health: {http: {port: 80}, tcp: 80}",
    "health: {tcp: 70000}",
    "health: {command: []}",
    "restart: sometimes",
    "replicas: 0",
    "rollout: {strategy: other}",
    "suspend: yes",
    "retention: {images: 0}",
    "workdir: srv",
    "command: serve",
    "title: 7",
]


@pytest.mark.parametrize("line", BROKEN)
def test_schema_refuses_what_the_loader_refuses(line):
    app = "" if line.startswith("source") else "    source: {path: .}\n"
    text = HEAD + f"apps:\n  api:\n{app}    {line}\n"
    assert _complaints(text)
    assert problems_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "project: shop\napps: {}\n",
        "version: 1\napps: {}\n",
        "version: 2\nproject: shop\n",
        "version: '1'\nproject: shop\n",
        HEAD + "aps: {}\n",
        HEAD + "concurrency: 0\n",
        HEAD + "include: ['../x.yaml']\n",
        HEAD + "apps: {API: {source: {path: .}}}\n",
        HEAD + "apps: {a: {}}\n",
        "version: true\nproject: shop\napps: {}\n",
        HEAD + "defaults: {helth: {}}\napps: {}\n",
    ],
)
def test_schema_refuses(text):
    assert _complaints(text)
    assert problems_of(text)


def test_schema_refuses_nothing_that_the_loader_accepts():
    """Every case file's complaints of the schema are mistakes for the loader as well."""
    for path in (ROOT / "tests" / "spec" / "cases").glob("*.yaml"):
        if not path.stem.startswith(("syntax", "two-doc", "tags", "alias", "keys", "merge")):
            assert not _complaints(path.read_text()) or problems_of(path.read_text())


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_field_is_explained(section, field):
    assert field.metadata["description"].endswith((".", ")."))
    assert field.metadata["examples"]


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_field_examples_are_valid(section, field):
    """For pydantic, which knows the limits in the metadata, and in the schema."""
    metadata = {key: value for key, value in field.metadata.items() if key != "alias"}
    name = field.metadata.get("alias", field.name)
    described = (SCHEMA if section is Spec else SCHEMA["$defs"][section.__name__])["properties"]
    checked = TypeAdapter(Annotated[section.__annotations__[field.name], Field(**metadata)])
    schema = Draft202012Validator({**described[name], "$defs": SCHEMA["$defs"]})
    for example in field.metadata["examples"]:
        checked.validate_python(example)
        schema.validate(example)


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_field_default_is_valid(section, field):
    default = default_of(section, field.name)
    if field.default is not MISSING or field.default_factory is not MISSING:
        assert TypeAdapter(section.__annotations__[field.name]).validate_python(default) == default


def test_every_object_is_described_and_closed():
    for name, schema in SCHEMA["$defs"].items():
        assert schema["title"], name
        assert schema["description"], name
        assert schema["additionalProperties"] is False, name
        for field in schema["properties"].values():
            assert field["examples"]
            assert "description" in field or "$ref" in field
            assert "title" not in field


def test_defaults_offer_the_fields_of_an_app():
    defaults = SCHEMA["$defs"]["AppDefaults"]
    assert defaults["properties"].keys() == fields_of(App).keys()
    for name, schema in SCHEMA["$defs"].items():
        assert not (name.endswith("Defaults") and "required" in schema)


def test_starter_is_valid_and_its_comments_too():
    assert list(load(STARTER).spec.apps) == ["web"]
    lines = STARTER.splitlines()
    start = next(number for number, line in enumerate(lines) if line == "  # api:")
    shown = [line.replace("# ", "", 1) for line in lines[start:]]
    both = load("\n".join([*lines[:start], *shown]))
    assert list(both.spec.apps) == ["web", "api"]
