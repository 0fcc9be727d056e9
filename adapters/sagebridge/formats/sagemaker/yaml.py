"""CloudFormation's YAML as JSON text: ``!Sub x`` as ``{"Fn::Sub": "x"}``, scalars as JSON has them.

YAML's dates, its ``yes`` and ``on``, and aliases, which CloudFormation does not take either, are
left out: ``2020-12-01`` and ``On`` are texts in a definition.
"""

from __future__ import annotations

import json
from typing import Any

from sagebridge.errors import MissingExtra, SourceError


def json_of(text: str, source: str) -> str:
    """The JSON text of a YAML one. Raises :class:`SourceError` and :class:`MissingExtra`."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("reading YAML", "yaml") from error
    try:
        value = yaml.load(text, _loader(yaml))  # noqa: S506 (a SafeLoader of our own)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or error
        raise SourceError(source, f"{place}not YAML: {problem}") from None
    except (RecursionError, ValueError) as error:
        raise SourceError(source, f"not YAML: {error}") from None
    return json.dumps(value, indent=2)


def _loader(yaml: Any) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own way)

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "CloudFormation has no aliases", mark)
            return super().compose_node(parent, index)

    scalars = {"null": "nN~", "bool": "tTfF", "int": "-+0123456789", "float": "-+0123456789."}
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for kind, starts in scalars.items():
        tag = f"tag:yaml.org,2002:{kind}"
        for start in starts:
            for found, pattern in resolvers.get(start, ()):
                if found == tag:
                    Loader.add_implicit_resolver(tag, pattern, [start])
    Loader.add_multi_constructor("!", _function)
    return Loader


def _function(loader: Any, suffix: str, node: Any) -> Any:
    """A function in its short form: ``!Ref x``, ``!GetAtt a.b``, ``!Sub …``."""
    match node.id:
        case "scalar":
            value: Any = loader.construct_scalar(node)
        case "sequence":
            value = loader.construct_sequence(node, deep=True)
        case _:
            value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}
