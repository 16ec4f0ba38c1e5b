"""Whatever stands in the file: it is loaded, or `SpecError` says why. Nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.spec.declare import fields_of
from reconciler.spec.loader import load_text
from reconciler.spec.models import App, Spec
from reconciler.spec.plain import from_plain, to_plain
from tests.spec.support import ONE_APP, load

ROOT = Path(__file__).parents[2]
TEXTS = [path.read_bytes() for path in sorted(ROOT.glob("examples/*/apps.yaml"))] + [
    path.read_bytes() for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
]
SNIPPETS = st.sampled_from(
    [
        *(b"\t", b"*a", b"&a ", b"<<: ", b"- ", b"{", b"}", b"[", b"]", b": ", b"!!x ", b"---\n"),
        *(b"null", b"\xff", b"\0", b'"', b"'", b"|\n", b"#", b"\r\n", b"? ", b"%", b"~", b"1"),
        b"\xef\xbb\xbf",
    ]
)


def _load_or_refuse(data: bytes) -> None:
    results = []
    for _ in range(2):
        try:
            results.append(load_text(data, "apps.yaml", ROOT / "examples" / "monorepo"))
        except SpecError as error:
            results.append(error.problems)
    assert results[0] == results[1] != []


@st.composite
def _edited(draw: st.DrawFn) -> bytes:
    """A file with pieces cut out, moved, doubled, or something odd put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        middle = draw(st.one_of(SNIPPETS, st.binary(max_size=4), st.just(text[start:end] * 2)))
        text = text[:start] + middle + text[end:]
    return text


@settings(max_examples=400, deadline=None)
@given(_edited())
def test_edited_file(text):
    _load_or_refuse(text)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_file_cut_short(text, data):
    _load_or_refuse(text[: data.draw(st.integers(0, len(text)))])


_names = st.one_of(
    st.sampled_from(
        [*fields_of(App), "http", "port", "git", "path", "image", "env", "file", "A", "[key]"]
    ),
    st.text(max_size=5),
)
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates()
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(_names, _values, max_size=5),
    st.dictionaries(_names, _values, max_size=5),
    _values,
)
def test_any_structure(app, defaults, source):
    data = {
        "version": 1,
        "project": "shop",
        "defaults": defaults,
        "apps": {"api": {"source": source, **app}, "web": {"source": {"path": "."}}},
    }
    _load_or_refuse(yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5))
def test_env_comes_back_character_by_character(env):
    """What a YAML writer wrote is what the container gets, if it is possible at all."""
    written = yaml.safe_dump(env, default_style='"', default_flow_style=True, width=10_000)
    text = f"{ONE_APP}    env: {written}"
    possible = all("=" not in name and name.isprintable() for name in env) and all(
        "\0" not in value for value in env.values()
    )
    if possible:
        assert load(text).spec.apps["api"].env == env
    else:
        _load_or_refuse(text.encode())


@settings(deadline=None)
@given(st.sampled_from(sorted(ROOT.glob("examples/*/apps.yaml"))), st.booleans())
def test_plain_spec_is_the_same_spec(path, short):
    spec = load_text(path.read_bytes(), "apps.yaml", path.parent).spec
    assert from_plain(Spec, json.loads(json.dumps(to_plain(spec, exclude_defaults=short)))) == spec
