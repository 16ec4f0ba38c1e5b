"""Editing an app's environment in the file: exactly that changes, and every other byte stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import UsageError
from reconciler.spec.editing import SpecFile, Value, find_file
from reconciler.spec.loader import load_text
from reconciler.spec.models import EnvRef, FileRef

ENV = ("env",)
BLOCK = """\
# yaml-language-server: $schema=schemas/apps.schema.json
%s---
version: 1
project:   'shop'   # ours
defaults: {env: {REGION: eu}}

apps:
    web:
        source: {path: "."}
        # what it is told
        env:   # all of it
            A: one          # the first
            B:    "two"
            # a secret
            C: {env: TOKEN}
            'D': 4
        command: ["serve", "--name", "a very long line of arguments that nobody wants to be wrapped anywhere", "--x"]
    api:
        source: {path: .}
        env: {A: one, B: two}
# the end
"""  # noqa: E501
BLOCK = BLOCK.replace("%s", "")
FLOW = "version: 1\nproject: shop\napps: {web: {source: {path: .}, env: { A: one, B: two, }}, x: {source: {path: .}}}\n"  # noqa: E501
BARE = "version: 1\nproject: shop\napps:\n  web:\n    source:\n      path: .\n  # other\n  api: {source: {path: .}}"  # noqa: E501
MERGED = """\
version: 1
project: shop
apps:
  base: {source: {path: .}, env: &common {A: one, LEVEL: info}}
  web:
    source: {path: .}
    env:
      <<: *common
      B: two
  api:
    source: {path: .}
    env: *common
"""
FILES = {"block": BLOCK, "flow": FLOW, "bare": BARE, "merged": MERGED}
AWKWARD = ["yes", "0o7", "1e3", "~", "", "null", "1.10", "22:22", "2001-01-01", "on", "=", "<<",
           " lead", "trail ", "a # b", "a: b", "a:", "*x", "&x", "!x", "|", ">", "%", "@", "`",
           "- a", "? a", "{a}", "[a]", "a, b", "'", '"', "\\", "a\nb", "a\n\n", "\n", " a\nb",
           "a \nb", "a\r\nb", "\t", "é", "\x85", "\u2028", "\ufeff", "\U0001f600", "\x07", "...",
           "---", "#", "true", "0x1f", ".inf", "x" * 300]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(AWKWARD),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
NAMES = st.one_of(
    st.sampled_from(["A", "B", "C", "D", "LEVEL", "yes", "~", "<<", "1", "a b", "#", "é", ": "]),
    st.text(
        st.characters(codec="utf-8", exclude_characters="=\x7f", min_codepoint=32),
        min_size=1, max_size=20,
    ),
)  # fmt: skip
VALUES = st.one_of(
    TEXTS,
    st.builds(EnvRef, env=NAMES),
    st.builds(FileRef, file=st.sampled_from(["/run/x", "a: b", "x # y"])),
)


def set_mapping(data: bytes, app: str, way: tuple[str, ...], values: Mapping[str, Value]) -> bytes:
    return SpecFile(data).with_mapping(app, way, values).data


def _apps(data: bytes) -> dict[str, object]:
    loaded = load_text(data, "apps.yaml", Path(__file__).parent)
    return dict(loaded.spec.apps)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60)
@given(values=st.dictionaries(NAMES, VALUES))
def test_any_environment_is_read_back_and_nothing_else_changes(
    name: str, newline: str, values: dict[str, str | EnvRef | FileRef]
) -> None:
    before = FILES[name].replace("\n", newline).encode()
    after = set_mapping(before, "web", ENV, values)
    old, new = _apps(before), _apps(after)
    inherited = {"REGION": "eu"} if name == "block" else {}
    assert new.pop("web").env == inherited | values  # type: ignore[attr-defined]
    old.pop("web")
    assert new == old
    assert set(re.findall(rb"\r?\n", after)) <= {newline.encode()}


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def test_untouched_lines_stay_byte_for_byte() -> None:
    before = BLOCK.encode()
    after = set_mapping(
        before, "web", ENV, {"B": "2", "C": EnvRef(env="TOKEN"), "D": "5", "E": "é"}
    )
    expected = (
        BLOCK.replace("            A: one          # the first\n", "")
        .replace('B:    "two"', 'B:    "2"')
        .replace("'D': 4\n", "'D': 5\n            E: \"é\"\n")
    )
    assert after.decode() == expected


def test_same_environment_leaves_the_bytes_alone() -> None:
    before = MERGED.encode()
    assert set_mapping(before, "web", ENV, {"A": "one", "LEVEL": "info", "B": "two"}) is before


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        (FLOW, {"A": "1", "B": "two"}, FLOW.replace("A: one", 'A: "1"')),
        (FLOW, {"B": "two", "C": "x"}, FLOW.replace("A: one, B: two,", "B: two, C: x,")),
        (FLOW, {"A": "one"}, FLOW.replace(", B: two,", ",")),
        (FLOW, {}, FLOW.replace("{ A: one, B: two, }", "{}")),
        (BARE, {"A": "x"}, BARE.replace("path: .\n", "path: .\n    env:\n      A: x\n")),
        (
            MERGED,
            {"A": "x", "LEVEL": "info", "B": "two"},
            MERGED.replace("B: two\n", "B: two\n      A: x\n"),
        ),
        (BLOCK, {}, re.sub(r"   # all of it\n(.*\n){5}", r" {}   # all of it\n", BLOCK)),
        ("apps: {}", {}, None),
    ],
)  # fmt: skip
def test_edit_is_as_small_as_the_way_of_writing_lets_it(
    before: str, values: dict[str, str], after: str | None
) -> None:
    if after is None:
        with pytest.raises(UsageError):
            set_mapping(before.encode(), "web", ENV, {"A": "1"})
    else:
        assert set_mapping(before.encode(), "web", ENV, values).decode() == after


def test_text_of_several_lines_is_written_as_lines() -> None:
    key = "-----BEGIN-----\nMIIB\n\nx=\n-----END-----\n"
    after = set_mapping(BARE.encode(), "web", ENV, {"KEY": key, "SAME": key.rstrip()}).decode()
    assert "      KEY: |\n        -----BEGIN-----\n        MIIB\n\n        x=\n" in after
    assert "      SAME: |-\n        -----BEGIN-----\n" in after
    again = set_mapping(after.encode(), "web", ENV, {"KEY": "short", "SAME": key.rstrip()})
    assert b"      KEY: short\n      SAME: |-\n" in again


def test_byte_order_mark_and_missing_line_break_at_the_end_stay() -> None:
    before = b"\xef\xbb\xbf" + BARE.encode()
    after = set_mapping(before, "web", ENV, {"A": "x"})
    assert after.startswith(b"\xef\xbb\xbfversion")
    assert after.endswith(b"path: .}}")
    assert (
        SpecFile(after).with_switch("web", "env_file", to=True).data.count(b"    env_file: true\n")
        == 1
    )


def test_build_arguments_get_a_section_that_is_not_there() -> None:
    after = set_mapping(BARE.encode(), "web", ("build", "args"), {"A": "1"})
    assert b'    build:\n      args:\n        A: "1"\n  # other\n' in after
    assert set_mapping(FLOW.encode(), "x", ("build", "args"), {"A": "x"}).endswith(
        b"x: {source: {path: .}, build: {args: {A: x}}}}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        MERGED.replace("  web:", "  old:").replace("  base:", "  web:"),  # others alias its env
        MERGED.replace("  base: {", "  base: &base {").replace("  web:", "  web: *base\n  old:"),
        BARE.replace("  web:", "  <<: {web: {source: {path: .}}}\n  old:"),
    ],
)
def test_edit_that_would_change_more_is_refused(text: str) -> None:
    load_text(text.encode(), "apps.yaml", Path(__file__).parent)
    with pytest.raises(UsageError, match="by hand"):
        set_mapping(text.encode(), "web", ENV, {"A": "2"})


def test_app_is_found_in_the_file_that_declares_it() -> None:
    files = {Path("apps.yaml"): FLOW.encode(), Path("a/more.yaml"): b"apps: {more: {env: {A: 1}}}"}
    assert find_file(files, "web")[0] == Path("apps.yaml")
    assert find_file(files, "more")[0] == Path("a/more.yaml")
    with pytest.raises(UsageError, match="'gone'"):
        find_file(files, "gone")
