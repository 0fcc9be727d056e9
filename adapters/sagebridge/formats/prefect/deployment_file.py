"""``prefect.yaml``: the deployments of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagebridge.authoring.json_document import read_bytes
from sagebridge.errors import MissingExtra, SourceError
from sagebridge.formats.prefect.deployments import UNKNOWN, Deployment, Option

_PARENTS = 4
"""How many parent folders of a flow file are searched for a ``prefect.yaml``."""
_MOST_VALUES = 100_000
"""Limit for the values of a file; aliases count each time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A deployment of a file, and where its flow is: ``flows/etl.py`` and the function."""

    deployment: Deployment
    file: str
    function: str


def is_deployment_file(file: str) -> bool:
    """Whether a source is a ``prefect.yaml``, by its name."""
    return file.endswith((".yaml", ".yml"))


def nearest_file(flow_file: Path) -> tuple[Path, str] | None:
    """The nearest ``prefect.yaml`` in the folders above a flow file, and its name for messages."""
    for level, folder in enumerate(flow_file.resolve().parents[: _PARENTS + 1]):
        path = folder / "prefect.yaml"
        if path.is_file():
            return path, os.path.normpath(flow_file.parent.joinpath(*[".."] * level, path.name))
    return None


def read_entries(path: Path, name: str) -> list[Entry]:
    """The deployments of a file, which messages call ``name``.

    Raises :class:`SourceError`, and :class:`MissingExtra` without PyYAML.
    """
    try:
        import yaml  # Airflow and Prefect depend on it; the core has it in the extra `yaml`
    except ImportError as error:
        raise MissingExtra("reading YAML", "yaml") from error
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise SourceError(name, f"cannot be opened: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SourceError(name, "not UTF-8") from None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is not None:
            _count(root, {})
        listed = dict(_items(root)).get("deployments")
        nodes = getattr(listed, "value", None) or ()
        return [
            _entry(name, node, loader.construct_document(node))
            for node in nodes
            if isinstance(node, yaml.MappingNode)
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise SourceError(place, f"not YAML: {getattr(error, 'problem', None) or error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise SourceError(name, f"not YAML: {error}") from None


def _count(node: Any, known: dict[int, int]) -> int:
    """The values below a node. Raises ValueError if aliases make them too many."""
    if id(node) in known:
        found = known[id(node)]
    else:
        known[id(node)] = _MOST_VALUES  # an alias inside its own value never ends
        inner = (one for _, one in _items(node)) if node.id == "mapping" else node.value
        found = 1 if node.id == "scalar" else 1 + sum(_count(one, known) for one in inner)
        known[id(node)] = found
    if found >= _MOST_VALUES:
        raise ValueError("its aliases stand for too many values")
    return found


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """The keys and value nodes of a mapping node."""
    if getattr(node, "id", "") == "mapping":
        yield from ((str(key.value), value) for key, value in node.value)


def _entry(name: str, node: Any, values: Mapping[str, Any]) -> Entry:
    first = node.start_mark.line + 1
    marks = dict(_items(node))  # PyYAML has put merged keys into the node

    def line(key: str, position: int | None = None) -> int:
        """The line of a key, or of an item of its list."""
        item: Any = marks.get(key)
        if position is not None and getattr(item, "id", "") == "sequence":
            item = item.value[position]
        return first if item is None else int(item.start_mark.line) + 1

    file, function = flow_of(values.get("entrypoint"))

    def each(key: str) -> Iterator[Option]:
        given = values.get(key)
        for position, value in enumerate(given if isinstance(given, list) else [given]):
            if value:
                place = f"{name}:{line(key, position)}"
                yield Option(key, resolved(value), flat(value), place)

    deployment = Deployment(
        str(values.get("name") or ""),
        function,
        f"{name}:{first}",
        schedules=(*each("schedule"), *each("schedules")),
        triggers=tuple(each("triggers")),
        options=tuple(
            Option(key, value, flat(value), f"{name}:{line(key)}")
            for key, value in values.items()
            if key not in ("schedule", "schedules", "triggers")
            and value not in (None, [], {}, "")
            and value is not False
        ),
    )
    return Entry(deployment, file, function)


def flow_of(entrypoint: Any) -> tuple[str, str]:
    """File and function of ``flows/etl.py:main``, or of the module path ``flows.etl.main``."""
    text = str(entrypoint or "")
    file, colon, function = text.rpartition(":")
    if not colon and "." in text:
        module, _, function = text.rpartition(".")
        file = f"{module.replace('.', '/')}.py"
    return file, function


def resolved(value: Any) -> Any:
    """The value, or UNKNOWN if a part outside its parameters is a template of Prefect."""
    if isinstance(value, Mapping):
        outside = [one for key, one in value.items() if key != "parameters"]
        return UNKNOWN if any(isinstance(one, str) and "{{" in one for one in outside) else value
    return UNKNOWN if isinstance(value, str) and "{{" in value else value


def flat(value: Any) -> str:
    """A value as losses show it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {item!r}" for name, item in value.items()) + "}"
    return repr(value)
