"""Find what the inputs of a file change in its pipelines, and replace it by parameters.

A file with inputs (:mod:`sagebridge.formats.python.import_inputs`) is read again with other values.
The strings and numbers that differ become parameters, or results of steps that evaluate the same
expression (:mod:`sagebridge.formats.python.start_values`); another difference is kept as it was
first read. All are losses at the line that reads the input.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from sagebridge.authoring.definition_writer import write_parameter, write_step
from sagebridge.formats.python.import_inputs import ImportInput, other_value
from sagebridge.formats.python.start_values import StartValue
from sagebridge.model.code_steps import CODE_TYPES, PYTHON, RETURN_VALUE, PythonStep, call_arguments
from sagebridge.model.code_transport import step_code
from sagebridge.model.display import free_name, shown, word_set
from sagebridge.model.functions import Function
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.values import ABSENT, Absent

Answer: TypeAlias = dict[str, Any]
Path: TypeAlias = "tuple[str | int, ...]"
Read: TypeAlias = "Callable[[Collection[str]], Answer]"
"""Reads the file with other values for the inputs with these keys."""
_SECONDS = 60.0
"""After this time, inputs are no longer varied one by one, and are reported together."""
_PARTS = ("name", "envelope", "definition", "code", "schedules", "event_triggers")
_STEPS = frozenset(("Steps", "IfSteps", "ElseSteps", "ForEachBody"))
_FIXED = word_set("CacheConfig DependsOn Name OutputParameters PropertyFiles RetryPolicies Type")
"""Keys of a step in which a reference is not possible."""
_TEXTS = frozenset(("Description", "DisplayName", "PipelineDescription", "PipelineDisplayName"))
"""Keys that do not change what an execution does."""
_RULES = ("", "all_success", "all_done", "none_failed", "none_skipped")
"""Trigger rules whose outcome another step that succeeds does not change."""
_TYPES: Mapping[type, str] = {str: "String", int: "Integer", float: "Float", bool: "Boolean"}


class _Difference(NamedTuple):
    path: Path
    was: Any
    other: Any


class _Start(NamedTuple):
    """An expression, and its value in the other reading."""

    here: StartValue
    other: Any

    def explains(self, difference: _Difference) -> bool:
        """Whether a value differs because of this expression, and of nothing else."""
        was, other = difference.was, difference.other
        value = self.here.value
        if isinstance(was, str) and isinstance(value, str | int | float):
            return bool(_replaced_parts(was, other, str(value), str(self.other)))
        return type(was) is type(value) and (was, other) == (value, self.other)


def with_inputs(read: Read) -> Answer:
    """The answer for a file, with parameters and losses for its inputs."""
    answer = read(())
    found = {key: ImportInput(**one) for key, one in answer.pop("inputs", {}).items()}
    starts = answer.pop("starts", [])
    if not found:
        return answer
    pipelines: list[Answer] = answer["pipelines"]
    edits = [_Edit(one) for one in pipelines]
    until = time.monotonic() + _SECONDS
    for keys, others in _effects(read, pipelines, list(found), until):
        for at, edit in enumerate(edits):
            if others is None:
                edit.fix(found[keys[0]], ())
                continue
            other = others["pipelines"][at]
            differences = list(_differences(_parts(pipelines[at]), _parts(other), ()))
            values = _matched(starts, others["starts"])
            if not edit.add_starts(found[keys[0]], differences, values):
                for difference in differences:
                    edit.add(found[keys[0]], difference)
    return {**answer, "pipelines": [edit.result() for edit in edits]}


def _effects(
    read: Read, pipelines: Sequence[Answer], keys: list[str], until: float
) -> Iterator[tuple[list[str], Answer | None]]:
    """The inputs that change something, with the other answer; None if it has other pipelines."""
    others: Answer | None = read(keys)
    found = others.get("pipelines") if others else None
    if found is None or len(found) != len(pipelines):
        others = None
    elif not any(
        True
        for one, other in zip(pipelines, found, strict=True)
        for _ in _differences(_parts(one), _parts(other), ())
    ):
        return
    if len(keys) > 1 and time.monotonic() < until:
        middle = len(keys) // 2
        halves = [
            found
            for half in (keys[:middle], keys[middle:])
            for found in _effects(read, pipelines, half, until)
        ]
        if halves:
            yield from halves
            return
    yield keys, others


def _matched(starts: Sequence[Answer], others: Sequence[Answer]) -> list[_Start]:
    """The expressions whose values differ in two readings."""
    known = {(one["line"], one["code"]): one["value"] for one in others}
    return [
        _Start(StartValue(**one), known[key])
        for one in starts
        if (key := (one["line"], one["code"])) in known and known[key] != one["value"]
    ]


def _parts(pipeline: Answer) -> Answer:
    return {name: pipeline[name] for name in _PARTS}


def _differences(was: Any, other: Any, path: Path) -> Iterator[_Difference]:
    """The outermost values that differ."""
    if isinstance(was, dict) and isinstance(other, dict) and list(was) == list(other):
        for name, value in was.items():
            yield from _differences(value, other[name], (*path, name))
    elif isinstance(was, list) and isinstance(other, list) and len(was) == len(other):
        for at, (one, another) in enumerate(zip(was, other, strict=True)):
            yield from _differences(one, another, (*path, at))
    elif type(was) is not type(other) or was != other:
        yield _Difference(path, was, other)


@dataclass(slots=True)
class _Edit:
    """The changes of one pipeline.

    ``spans`` has the parts of each string that become references, as (start, end, reference);
    ``values`` the references of whole values; ``fixed`` the places that keep their values;
    ``steps`` those that evaluate expressions.
    """

    pipeline: Answer
    spans: dict[Path, list[tuple[int, int, Answer]]] = field(default_factory=dict)
    values: dict[Path, Answer] = field(default_factory=dict)
    steps: dict[tuple[int, str], tuple[ImportInput, PythonStep]] = field(default_factory=dict)
    fixed: dict[ImportInput, list[Path]] = field(default_factory=dict)
    parameters: dict[tuple[str, str], tuple[ImportInput, Parameter]] = field(default_factory=dict)

    def add_starts(
        self, found: ImportInput, differences: Sequence[_Difference], values: Sequence[_Start]
    ) -> bool:
        """Add steps that evaluate expressions, if that is possible for each difference."""
        if found.is_default or found.fix:
            return False
        chosen: list[tuple[_Difference, _Start]] = []
        for one in differences:
            start = next((it for it in values if it.explains(one)), None)
            if start is None or not self._takes_step(one.path):
                return False
            chosen.append((one, start))
        for (path, was, other), start in chosen:
            reference = self._step(found, start.here)
            if was == start.here.value:
                self.values.setdefault(path, reference)
            else:
                parts = _replaced_parts(was, other, str(start.here.value), str(start.other))
                new = [(*part, reference) for part in parts]
                self.spans[path] = [*self.spans.get(path, ()), *new]
        return True

    def _takes_step(self, path: Path) -> bool:
        """Whether a value can be the result of a step: it is an argument of code that waits for it.

        Under a trigger rule such as one_success, another step before it would decide.
        """
        steps = list(_steps(self.pipeline["definition"]["Steps"]))
        values: Any = self.pipeline
        inner: Answer = {}
        for part in path:
            inner = values if isinstance(values, dict) and "Type" in values else inner
            values = values[part]
        if inner.get("Type") not in CODE_TYPES or not _takes_reference(path):
            return False
        at = next(at for at, step in enumerate(steps) if step["Name"] == inner["Name"])
        engine = (self.pipeline["code"][at] or {}).get("engine") or {}
        return engine.get("trigger_rule", "") in _RULES

    def _step(self, found: ImportInput, start: StartValue) -> Answer:
        """A reference to the result of the step of an expression."""
        key = (start.line, start.code)
        if key not in self.steps:
            taken = {one["Name"] for one in _steps(self.pipeline["definition"]["Steps"])}
            taken |= {one.name for _, one in self.steps.values()}
            name = free_name(start.name.replace("_", "-"), taken, separator="-")
            step = PythonStep(
                name,
                PYTHON,
                call_arguments((), {}),
                function=Function(**start.function),
                origin=str(start.line),
            )
            self.steps[key] = found, step
        return {"Get": f"Steps.{self.steps[key][1].name}.{RETURN_VALUE}"}

    def add(self, found: ImportInput, difference: _Difference) -> None:
        path, was, other = difference
        if not _takes_reference(path) or type(was) is not type(other) or type(was) not in _TYPES:
            self.fix(found, path)
        elif not isinstance(was, str):
            self.values.setdefault(path, self._parameter(found, was))
        else:
            spans = self.spans.setdefault(path, [])
            for start, end in _changed_parts(was, other, found.value):
                name = self._parameter(found, was[start:end])
                if all(end <= first or last <= start for first, last, _ in spans):
                    spans.append((start, end, name))
                else:
                    self.fix(found, path)

    def fix(self, found: ImportInput, path: Path) -> None:
        self.fixed.setdefault(found, []).append(path)

    def _parameter(self, found: ImportInput, value: Any) -> Answer:
        key = (found.what, f"{value!r}")
        if key not in self.parameters:
            declared = self.pipeline["definition"].get("Parameters") or ()
            taken = {one.get("Name") for one in declared}
            taken |= {one.name for _, one in self.parameters.values()}
            default: Any | Absent = value if found.is_default else ABSENT
            description = f"Replaces {found.what}, which the file reads on import"
            name = free_name(found.name, taken)
            added = Parameter(name, _TYPES[type(value)], default, description=description)
            self.parameters[key] = found, added
        return {"Get": f"Parameters.{self.parameters[key][1].name}"}

    def result(self) -> Answer:
        """The pipeline with its parameters, and the losses."""
        pipeline = {**self.pipeline, "losses": [*self._losses(), *self.pipeline["losses"]]}
        pipeline["definition"] = self._rewritten(self.pipeline["definition"], ("definition",))
        if self.parameters:
            declared = pipeline["definition"].get("Parameters") or []
            added = [write_parameter(one) for _, one in self.parameters.values()]
            pipeline["definition"]["Parameters"] = [*declared, *added]
        steps = [one for _, one in self.steps.values()]
        definition = pipeline["definition"]
        definition["Steps"] = [*map(write_step, steps), *definition["Steps"]]
        pipeline["code"] = [*map(step_code, steps), *pipeline["code"]]
        return pipeline

    def _rewritten(self, value: Any, path: Path) -> Any:
        if path in self.values:
            return self.values[path]
        if path in self.spans:
            return _joined(value, sorted(self.spans[path], key=itemgetter(0)))
        if isinstance(value, dict):
            return {name: self._rewritten(one, (*path, name)) for name, one in value.items()}
        if isinstance(value, list):
            items = [self._rewritten(one, (*path, at)) for at, one in enumerate(value)]
            # A Join with a separator cannot contain the values of another one.
            if path[-2:] == ("Std:Join", "Values") and self._separator(path) == "":
                return [part for one in items for part in _values(one)]
            return items
        return value

    def _separator(self, path: Path) -> Any:
        join: Any = self.pipeline
        for part in path[:-1]:
            join = join[part]
        return join.get("On", "")

    def _losses(self) -> Iterator[dict[str, str]]:
        for found, step in self.steps.values():
            what = (
                f"{found.what}, read on import, is read by the step {shown(step.name)} in each run"
            )
            yield _loss(replace(found, line=int(step.origin)), "info", what, "")
        for found, one in self.parameters.values():
            default = "" if one.default is ABSENT else "; its value is the default"
            what = f"{found.what}, read on import, becomes the parameter {shown(one.name)}{default}"
            yield _loss(found, "changed", what, "set the parameter")
        for found, paths in self.fixed.items():
            only_text = all(path and path[-1] in _TEXTS for path in paths)
            place = _place(paths[0])
            what = f"{place} depends on {found.what}, read on import; it keeps the present value"
            advice = found.fix or "write a constant into the file"
            yield _loss(found, "info" if only_text else "changed", what, advice)


def _loss(found: ImportInput, severity: Any, what: str, advice: str) -> dict[str, str]:
    return Loss(found.code, severity, str(found.line), what, "pipeline", advice).as_json()


def _place(path: Path) -> str:
    """The place of a difference, for messages."""
    match path:
        case ("definition", *rest):
            return "/" + "/".join(map(str, rest))
        case ("name", *_) | ("envelope", "PipelineName"):
            return "the name of the pipeline"
        case ("envelope", str(name), *_):
            return name
        case ("code", *_):
            return "the code of a task"
        case ("schedules", *_):
            return "a schedule"
        case ("event_triggers", *_):
            return "an event trigger"
    return "the pipeline"


def _takes_reference(path: Path) -> bool:
    """Whether a value of the definition can be a reference to a parameter."""
    starts = [
        at for at, part in enumerate(path[:-1]) if part in _STEPS and type(path[at + 1]) is int
    ]
    if path[:1] != ("definition",) or not starts:
        return False
    inside = path[starts[-1] + 2 :]
    if not inside or inside[0] in _FIXED or inside[0] in _TEXTS:
        return False
    return inside[-1] not in ("Get", "On") and inside[:2] + inside[-1:] != (
        "Arguments",
        "Conditions",
        "Type",
    )


def _changed_parts(was: str, other: str, value: Any) -> list[tuple[int, int]]:
    """The parts of a string that change with an input, whose value may be in it."""
    for known in _strings(value):
        if parts := _replaced_parts(was, other, known, other_value(known)):
            return parts
    start = 0
    while start < min(len(was), len(other)) and was[start] == other[start]:
        start += 1
    end = len(was)
    while end > start and len(other) - len(was) + end > start:
        if was[end - 1] != other[len(other) - len(was) + end - 1]:
            break
        end -= 1
    # Two times or numbers may have digits in common.
    while start and was[start - 1].isalnum():
        start -= 1
    while end < len(was) and was[end].isalnum():
        end += 1
    return [(start, end)]


def _replaced_parts(was: str, other: str, value: str, changed: str) -> list[tuple[int, int]]:
    """The parts of a string with a value that differs; empty if something else differs too."""
    parts: list[tuple[int, int]] = []
    at = other_at = 0
    while value and at < len(was):
        if was.startswith(value, at) and other.startswith(changed, other_at):
            parts.append((at, at + len(value)))
            at, other_at = at + len(value), other_at + len(changed)
        elif was[at : at + 1] == other[other_at : other_at + 1]:
            at, other_at = at + 1, other_at + 1
        else:
            return []
    return parts if other_at == len(other) else []


def _strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value, and in a string that is JSON."""
    match value:
        case str():
            yield from [value] if value else ()
            if value.lstrip()[:1] in ("{", "["):
                with suppress(ValueError, RecursionError):
                    yield from _strings(json.loads(value))
        case dict():
            for one in value.values():
                yield from _strings(one)
        case list():
            for one in value:
                yield from _strings(one)


def _steps(steps: Sequence[Answer]) -> Iterator[Answer]:
    """The steps of a definition in the order of ``walk``."""
    for step in steps:
        yield step
        for name in ("IfSteps", "ElseSteps", "ForEachBody"):
            yield from _steps((step.get("Arguments") or {}).get(name) or ())


def _joined(text: str, spans: Sequence[tuple[int, int, Answer]]) -> Any:
    values: list[Any] = []
    at = 0
    for start, end, reference in spans:
        values += [text[at:start], reference]
        at = end
    values = [one for one in (*values, text[at:]) if one != ""]
    return values[0] if len(values) == 1 else {"Std:Join": {"On": "", "Values": values}}


def _values(value: Any) -> list[Any]:
    """The values of a Join without separator; any other value alone."""
    match value:
        case {"Std:Join": {"On": "", "Values": list(values)}}:
            return values
    return [value]
