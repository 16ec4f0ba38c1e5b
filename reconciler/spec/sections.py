"""Kinds whose fields a model declares: one section, or one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconciler.spec.kinds import Kind, Text, mapping_hint, merge_mappings
from reconciler.spec.messages import join_words
from reconciler.spec.reading import INVALID, DataNode, Invalid, Node, Reading, entries

if TYPE_CHECKING:
    from reconciler.spec.base import Model


class Section(Kind):
    """A mapping with the fields of a model."""

    expects = "a mapping"
    plural = "mappings"

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def read(self, node: Node, at: str, to: Reading) -> Any:
        """The model; with `to.partial` a plain dict of what is given."""
        if node.id != "mapping":
            if node.id == "ready" and isinstance(node.value, self.model):
                return node.value
            return to.wrong_type(node, at, self.expects, mapping_hint(node))
        fields, prefix = self.model.model_fields, f"{at}." if at else ""
        values: dict[str, Any] = {}
        for name, (key, inner) in entries(node, at, to).items():
            field = fields.get(name)
            if field is None:
                values[name] = to.unknown(key, prefix + name, fields)
            else:
                values[name] = field.kind.read(inner, prefix + name, to)
        if not to.partial and not self.model.required <= values.keys():
            return self._report_missing(node, at, to, values)
        if INVALID in values.values():
            return INVALID
        return values if to.partial else self._finish(node, at, to, values)

    def _report_missing(self, node: Node, at: str, to: Reading, values: dict[str, Any]) -> Invalid:
        for name, field in self.model.model_fields.items():
            if field.required and name not in values:
                to.wrong(node, at, f"'{name}' is missing", f"expected {field.kind.expects}")
        return INVALID

    def _finish(self, node: Node, at: str, to: Reading, values: dict[str, Any]) -> Any:
        instance = self.model.make(values)
        broken = False
        for name, *sentence in instance.rules():
            _, place = entries(node, at, to).get(name, (node, node))
            to.wrong(place, f"{at}.{name}" if at else name, *sentence)
            broken = True
        return INVALID if broken else instance

    def merge(self, base: Node, own: Node, at: str, to: Reading) -> Node:
        return merge_sections(self.model, base, own, at, to)


class Defaults(Section):
    """A section in which nothing is required, for every app to inherit; read as a plain dict."""

    def read(self, node: Node, at: str, to: Reading) -> Any:
        to.partial = True
        try:
            return super().read(node, at, to)
        finally:
            to.partial = False


class OneOf(Kind):
    """One of several sections, told apart by the first field of each; or, with `text`, text."""

    def __init__(self, models: Sequence[type[Model]], text: Text | None = None) -> None:
        self.sections = {next(iter(model.model_fields)): Section(model) for model in models}
        self.text = text
        forms = join_words((f"{{{name}: …}}" for name in self.sections), "or")
        self.expects = f"{text.expects}, {forms}" if text else forms
        self.plural = "mappings"

    def read(self, node: Node, at: str, to: Reading) -> Any:
        if self.text is not None and node.id == "scalar":
            return self.text.read(node, at, to)
        if node.id == "ready":
            fits = [item for item in self.sections.values() if isinstance(node.value, item.model)]
            return fits[0].read(node, at, to) if fits else to.wrong_type(node, at, self.expects)
        if node.id != "mapping":
            return to.wrong_type(node, at, self.expects)
        found = entries(node, at, to)
        named = [name for name in found if name in self.sections]
        if len(named) == 1:
            return self.sections[named[0]].read(node, at, to)
        if named:
            extra = found[named[1]][0]
            words = join_words(named)
            return to.wrong(extra, f"{at}.{named[1]}", f"{words} exclude each other", "keep one")
        return self._read_nameless(node, at, to)

    def _read_nameless(self, node: Node, at: str, to: Reading) -> Any:
        """Without the field that tells which: what else is there is checked all the same."""
        found = entries(node, at, to)
        sections = sorted(
            self.sections.values(), key=lambda item: -len(item.model.model_fields.keys() & found)
        )
        if to.partial:
            return sections[0].read(node, at, to)
        known = {name for item in sections for name in item.model.model_fields}
        for name, (key, _) in found.items():
            if name not in known:
                to.unknown(key, f"{at}.{name}", self.sections)
        words = join_words(self.sections, "or")
        return to.wrong(node, at, f"exactly one of {words} is needed")

    def merge(self, base: Node, own: Node, at: str, to: Reading) -> Node:
        """Sections of different kinds have nothing in common: the app's own replaces."""
        if base.id != "mapping" or own.id != "mapping":
            return own
        inherited = [name for name in entries(base, at, to) if name in self.sections]
        named = [name for name in entries(own, at, to) if name in self.sections]
        if named and inherited and named != inherited:
            return own
        model = self.sections[(named or inherited or list(self.sections))[0]].model
        return merge_sections(model, base, own, at, to)


def merge_sections(model: type[Model], base: Node, own: Node, at: str, to: Reading) -> Node:
    """A section over its defaults; what the model says excludes each other isn't inherited."""

    def kind_of_field(name: str) -> Kind | None:
        field = model.model_fields.get(name)
        return field.kind if field else None

    merged = merge_mappings(base, own, kind_of_field, at, to)
    if isinstance(merged, DataNode) and merged.entries is not None:
        for name in model.not_inherited(merged.entries, entries(own, at, to)):
            merged.entries.pop(name, None)
    return merged
