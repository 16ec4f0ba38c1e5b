"""Files that can't be read, aren't text, or are made to be too much."""

from __future__ import annotations

import os

import pytest

from reconciler.errors import SpecError
from reconciler.spec.loader import load_spec
from tests.spec.support import HEAD, lines_of, problems_of


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


def test_defaults_for_too_many_apps():
    """Short in the file, and more than the memory holds once it is laid under every app."""
    env = "".join(f"    A{number}: x\n" for number in range(5_000))
    apps = "".join(f"  a{number}: {{}}\n" for number in range(5_000))
    (problem,) = problems_of(f"{HEAD}defaults:\n  source: {{path: .}}\n  env:\n{env}apps:\n{apps}")
    assert problem.field == "defaults"
    assert problem.message == "laid under 5000 apps, these are too many values"


def test_long_names_are_cut_in_messages():
    (problem,) = problems_of(HEAD + f"apps: {{}}\n? {'x' * 100_000}\n: 1\n")
    assert len(problem.field) < 400


def test_many_ports_and_mounts_take_no_square_of_time():
    ports = ", ".join(f"'10.{n >> 16}.{n >> 8 & 255}.{n & 255}:80:80'" for n in range(20_000))
    mounts = ", ".join(f"'d{n:05}:/{n}'" for n in range(20_000))
    text = f"apps: {{a: {{source: {{path: .}}, ports: [{ports}], volumes: [{mounts}]}}}}\n"
    assert problems_of(HEAD + text) == []
