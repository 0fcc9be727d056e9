"""Convert CloudFormation's YAML to JSON: ``!Sub x`` becomes ``{"Fn::Sub": "x"}``.

Dates, ``yes`` and ``on`` stay strings, since ``2020-12-01`` and ``On`` are strings in a definition.
Aliases are an error, as in CloudFormation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sagebridge.errors import MissingExtra, SourceError

_COLLECTIONS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


def json_of(text: str, source: str) -> str:
    """YAML as JSON, with each value on the same line, so that findings have the right lines.

    Raises :class:`SourceError` and :class:`MissingExtra`.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("reading YAML", "yaml") from error
    try:
        loader = _loader(yaml)(text)
        node = loader.get_single_node()
        return "null" if node is None else "".join(_Writer(loader).value(node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or error
        raise SourceError(source, f"{place}not YAML: {problem}") from None
    except (RecursionError, TypeError, ValueError) as error:
        raise SourceError(source, f"not YAML: {error}") from None


def _loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        # PyYAML looks up the resolvers in this class attribute (yaml/resolver.py).
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(
                    None, None, "aliases are not supported by CloudFormation", mark
                )
            return super().compose_node(parent, index)

    scalars = {"null": "nN~", "bool": "tTfF", "int": "-+0123456789", "float": "-+0123456789."}
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for kind, starts in scalars.items():
        tag = f"tag:yaml.org,2002:{kind}"
        for start in starts:
            for found, pattern in resolvers.get(start, ()):
                if found == tag:
                    Loader.add_implicit_resolver(tag, pattern, [start])
    return Loader


class _Writer:
    """The JSON of YAML nodes, with the line breaks of the YAML."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.line = loader, 0

    def value(self, node: Any) -> Iterator[str]:
        """A node; a short function (``!Ref x``, ``!GetAtt a.b``) becomes an object."""
        yield self._breaks(node)
        if not node.tag.startswith("!"):
            if node.id != "scalar" and node.tag not in _COLLECTIONS:
                raise ValueError(f"line {node.start_mark.line + 1}: unsupported tag {node.tag}")
            yield from self._plain(node)
            return
        function = node.tag[1:]
        name = function if function in ("Ref", "Condition") else f"Fn::{function}"
        yield f"{{{json.dumps(name)}: "
        if node.id == "scalar":
            text = self.loader.construct_scalar(node)
            yield json.dumps(text.split(".", 1) if function == "GetAtt" else text)
        else:
            yield from self._plain(node)
        yield "}"

    def _plain(self, node: Any) -> Iterator[str]:
        if node.id == "scalar":
            yield json.dumps(self.loader.construct_object(node))
        elif node.id == "sequence":
            yield "["
            for position, item in enumerate(node.value):
                yield ", " if position else ""
                yield from self.value(item)
            yield "]"
        else:
            yield "{"
            for position, (key, item) in enumerate(node.value):
                yield ", " if position else ""
                yield self._breaks(key)
                yield f"{json.dumps(self._name(key))}: "
                yield from self.value(item)
            yield "}"

    def _name(self, key: Any) -> str:
        if key.id != "scalar":
            raise ValueError(f"line {key.start_mark.line + 1}: a key must be a string")
        name = self.loader.construct_object(key)
        return name if isinstance(name, str) else json.dumps(name)

    def _breaks(self, node: Any) -> str:
        """The line breaks before a node."""
        before, self.line = self.line, max(self.line, node.start_mark.line)
        return "\n" * (self.line - before)
