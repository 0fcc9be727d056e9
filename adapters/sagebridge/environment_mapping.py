"""Adapt a pipeline to a stage (``--map``): other accounts, roles, buckets, images, defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from sagebridge.authoring.json_document import kind, parse, read_bytes
from sagebridge.errors import ParameterError, SourceError, StageError
from sagebridge.model.display import did_you_mean, shown, word_set
from sagebridge.model.expressions import Get
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import Object, Value

_NAMES = word_set(
    "cache depends_on function key_order name on origin output_parameters path "
    "property_files retry_policies spelling type version"
)
"""Fields of the model that name or select something; they are never changed."""
_TIMES = frozenset(("end", "expression", "start", "timezone"))
"""Fields of a schedule that are changed only if they have a variable of a template, ``${Name}``."""
_KEYS = frozenset(("ChannelName", "CheckType", "InputName", "OutputName"))
"""Keys whose values references use as names, and CheckType, which selects the kind of check."""

REPLACE = "replace"
_PATTERNS = MappingProxyType(
    {
        REPLACE: "{}",
        "accounts": r"(?<!\d){}(?!\d)",
        # A whole string or its first part, or after s3:// or the ::: of an ARN.
        "buckets": r"\A{}(?=/|\Z)"
        r"|(?:(?<=://)|(?<=:::)){}(?![\w-]|\.(?!s3[.-]))",
        "images": r"\A{}(?=[:@]|\Z)",
        "roles": r"(?:\A|(?<=:role/)|(?<=:role/service-role/)){}\Z",
    }
)
"""Where each kind of replacement applies; ``{}`` is the string to replace."""
_SWITCHES = ("event_triggers", "schedules")
_KINDS = (*_PATTERNS, "parameters", *_SWITCHES)
ALL = "*"
_ON_OFF = {"on": True, "off": False}

Entry: TypeAlias = tuple[str, str]
"""A kind and what it changes, such as ``("buckets", "dev-data")``."""


def rewrite(pipeline: Pipeline, mapping: Mapping[str, str]) -> tuple[Pipeline, tuple[str, ...]]:
    """Replace the keys of ``mapping`` in all string values; also return the keys not found."""
    changed, used = Stage({(REPLACE, old): new for old, new in mapping.items()}).apply(pipeline)
    return changed, tuple(old for old in mapping if (REPLACE, old) not in used)


@dataclass(frozen=True, slots=True)
class Stage:
    """The changes for one stage, by kind and name; see :func:`read_stage`."""

    changes: Mapping[Entry, Value] = field(default_factory=dict)

    @classmethod
    def parse(cls, options: Sequence[str]) -> Stage:
        """The stage of some ``--map`` options. Raises :class:`StageError`."""
        changes: dict[Entry, Value] = {}
        for option in options:
            for entry, new in _parse_option(option).items():
                if changes.setdefault(entry, new) != new:
                    raise StageError([f"--map {_label(entry)} has two different values"])
        return cls(changes)

    def apply(self, pipeline: Pipeline) -> tuple[Pipeline, frozenset[Entry]]:
        """The changed pipeline, and the entries that matched something in it.

        First strings are replaced: the parts of a Join are values too; references, keys, and names
        of steps and parameters are not changed. The longest string wins, and replaced strings are
        not searched again. Then parameters get their defaults, and schedules are switched.

        Raises :class:`ParameterError` for a default that the parameter rejects.
        """
        used: set[Entry] = set()
        pipeline = _replaced(pipeline, self.changes, used)
        if any(kind_ == "parameters" for kind_, _ in self.changes):
            pipeline = self._with_defaults(pipeline, used)
        for kind_ in _SWITCHES:
            pipeline = self._switched(pipeline, kind_, used)
        return pipeline, frozenset(used)

    def unused(self, used: frozenset[Entry] | set[Entry]) -> list[str]:
        """The entries that are not in ``used``, as options for messages."""
        return [f"--map {_label(entry)}" for entry in self.changes if entry not in used]

    def _with_defaults(self, pipeline: Pipeline, used: set[Entry]) -> Pipeline:
        problems: list[str] = []
        parameters: list[Parameter] = []
        for parameter in pipeline.declared:
            entry = ("parameters", parameter.name)
            if entry not in self.changes:
                parameters.append(parameter)
                continue
            used.add(entry)
            try:
                default = coerce_one(parameter, self.changes[entry])
                parameters.append(replace(parameter, default=default))
            except ParameterValueError as wrong:
                given = shown(self.changes[entry])
                problems.append(f"--map {_label(entry)} is {given}, expected {wrong}")
        if problems:
            raise ParameterError(problems)
        return replace(pipeline, parameters=tuple(parameters)) if parameters else pipeline

    def _switched(self, pipeline: Pipeline, kind_: str, used: set[Entry]) -> Pipeline:
        result: list[Any] = []
        for member in getattr(pipeline, kind_):
            enabled = member.enabled
            for entry in ((kind_, ALL), (kind_, member.name)):
                if entry in self.changes:
                    used.add(entry)
                    enabled = self.changes[entry]
            result.append(replace(member, enabled=enabled))
        changed: dict[str, Any] = {kind_: tuple(result)}
        return replace(pipeline, **changed) if result else pipeline


def _replaced(pipeline: Pipeline, changes: Mapping[Entry, Value], used: set[Entry]) -> Pipeline:
    entries = [entry for entry in changes if entry[0] in _PATTERNS]
    if not entries:
        return pipeline
    entries.sort(key=lambda entry: len(entry[1]), reverse=True)
    pattern = re.compile(
        "|".join(f"({_PATTERNS[kind_].replace('{}', re.escape(old))})" for kind_, old in entries)
    )

    def replacement(match: re.Match[str]) -> str:
        entry = entries[cast("int", match.lastindex) - 1]
        used.add(entry)
        return str(changes[entry])

    def walk(value: Value) -> Value:
        match value:
            case str():
                return pattern.sub(replacement, value)
            case Get():
                return value
            case Mapping():
                return Object(
                    {name: item if name in _KEYS else walk(item) for name, item in value.items()}
                )
            case list() | tuple():
                return tuple(walk(item) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            given = {one.name: getattr(value, one.name) for one in fields(value)}
            return replace(
                value,
                **{name: walk(item) for name, item in given.items() if _is_changed(name, item)},
            )
        return value

    return cast("Pipeline", walk(pipeline))


def _is_changed(name: str, value: Value) -> bool:
    if name in _TIMES:
        return isinstance(value, str) and "${" in value
    return name not in _NAMES


def _label(entry: Entry) -> str:
    kind_, name = entry
    return repr(name) if kind_ == REPLACE else f"{kind_} {name!r}"


def _parse_option(option: str) -> dict[Entry, Value]:
    path = Path(option)
    old, sign, new = option.partition("=")
    if old and sign and not path.is_file():
        return {(REPLACE, old): new}
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise StageError([f"--map {option}: expected OLD=NEW, or a .json or .yaml file"])
    return read_stage(path)


def read_stage(path: Path) -> dict[Entry, Value]:
    """The changes of a stage file, JSON or YAML. Raises :class:`StageError` with all problems.

    Its keys, all optional: ``accounts``, ``buckets``, ``images``, ``roles`` and ``replace`` (any
    string) map old to new strings, ``parameters`` maps names to defaults, and ``schedules`` and
    ``event_triggers`` are ``on`` or ``off``, for all or by name.
    """
    from sagebridge.formats.sagemaker.cloudformation_yaml import json_of

    try:
        text = read_bytes(path).decode()
        if path.suffix != ".json":
            text = json_of(text, str(path))
        value = parse(text, str(path)).value
    except SourceError as error:
        raise StageError([str(error)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise StageError([f"{path}: cannot be opened: {reason}"]) from None
    if not isinstance(value, dict):
        raise StageError([f"{path}: expected an object, got {kind(value)}"])
    changes: dict[Entry, Value] = {}
    problems: list[str] = []
    for key, given in value.items():
        if key not in _KINDS:
            hint = did_you_mean(key, _KINDS) or f"; expected {', '.join(_KINDS)}"
            problems.append(f"{path}: unknown key {shown(key)}{hint}")
            continue
        is_for_all = key in _SWITCHES and not isinstance(given, dict)
        members = {ALL: given} if is_for_all else given
        if not isinstance(members, dict):
            problems.append(f"{path}: {key}: expected an object, got {kind(members)}")
            continue
        for name, new in members.items():
            found, expected = _change(key, name, new)
            if expected:
                problems.append(f"{path}: {key}: {shown(name)}: expected {expected}")
            changes[key, name] = found
    if problems:
        raise StageError(problems)
    return changes


def _change(key: str, name: str, new: Any) -> tuple[Value, str]:
    """One change of a stage file, and what is expected instead if it is wrong."""
    if key in _SWITCHES:
        new = _ON_OFF.get(new, new) if isinstance(new, str) else new
        return new, "" if isinstance(new, bool) else f"on or off, got {kind(new)}"
    if key == "parameters":
        is_scalar = isinstance(new, str | int | float)
        return new, "" if is_scalar else f"a string, number or boolean, got {kind(new)}"
    if key == "accounts":
        # YAML reads an account without quotes as a number, and one that starts with 0 as octal.
        new = str(new) if isinstance(new, int) and not isinstance(new, bool) else new
        numbers = [one for one in (name, new) if not _is_account(one)]
        return new, f"12 digits in quotes, got {kind(numbers[0])}" if numbers else ""
    if not name:
        return new, "a name that is not empty"
    return new, "" if isinstance(new, str) else f"a string, got {kind(new)}"


def _is_account(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{12}", value) is not None
