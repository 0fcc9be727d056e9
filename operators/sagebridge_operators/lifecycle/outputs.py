"""The outputs of a step: its job's identity and the properties that the pipeline refers to.

Outputs pass through the engine (XCom, task result), so they are small JSON values. They contain
only what an expression refers to; in particular, not the environment of a job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.expressions import Get, Index, Key, Member, Token
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.pipeline import Step, step_references, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.user_code.values import TupleFields, escaped, inside
from sagebridge_operators.run_errors import OutputsTooLarge, Unresolvable
from sagebridge_operators.steps.job_type import JobType
from sagebridge_operators.steps.output_parameters import OUTPUT_PARAMETERS

LIMIT = 48 * 1024
"""Largest outputs of one step, in bytes of JSON."""

LIST_KEYS = {"Tags": "Key"}
for _row in STEP_TYPES.values():
    LIST_KEYS |= _row.list_keys
"""The key by which items of a list in a Describe response are named, as in ``Outputs['train']``."""
JSON_DOCUMENTS = frozenset(one for row in STEP_TYPES.values() for one in row.json_documents)
"""The properties that are JSON text, below which references may continue."""


def references_to(name: str, steps: Iterable[Step]) -> tuple[Get, ...]:
    """The distinct references of ``steps`` to properties of step ``name``.

    For a step in the body of a ForEach also those that pass through the ForEach:
    ``IterationOutputs[0].NAME.A``, ``Selected.A`` and ``IterationOutput.NAME.A`` count as
    ``Steps.NAME.A``.
    """
    every = tuple(walk(tuple(steps)))
    given = [reference for step in every for reference in step_references(step)]
    for step in every:
        if isinstance(step, ForEachStep) and any(inner.name == name for inner in step.inner):
            given += _through(step, name, given)
    return tuple(
        {
            reference.text: reference
            for reference in given
            if reference.step == name and reference.property_file is None
        }.values()
    )


def _through(loop: ForEachStep, name: str, given: Sequence[Get]) -> list[Get]:
    """The references to a body step that pass through its ForEach."""
    field = None if loop.selector is ABSENT else loop.selector.field
    selects = isinstance(field, Get) and field.name == name
    found = [field.tokens[1:]] if isinstance(field, Get) and selects else []
    for reference in given:
        if reference.step != loop.name:
            continue
        match reference.tokens[1:]:
            case (Member("IterationOutputs"), Index(), Member(step) | Key(step), *rest):
                found += [tuple(rest)] if step == name else []
            case (Member("Selected"), *rest) if selects:
                found.append(tuple(rest))
    return [Get("Steps", (Member(name), *rest)) for rest in found if rest]


def outputs_of(
    step: Step, description: Mapping[str, Any], references: Sequence[Get]
) -> dict[str, Any]:
    """Collects the referenced properties of a step from a Describe response.

    Returns a dict with ``properties`` (value by path), ``missing`` (available names by path) and
    ``property_files`` (S3 URI by name); empty ones are left out.
    """
    properties: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    for reference in references:
        path = path_text(reference)
        try:
            properties[path] = escaped(json_safe(look_up(description, reference.tokens[1:])))
        except LookupError as absent:
            missing[path] = list(absent.args[1]) if len(absent.args) > 1 else []
    files = {
        file.name: uri
        for file in step.property_files or ()
        if (uri := _file_uri(description, file.output_name, file.file_path)) is not None
    }
    result = {"properties": properties, "missing": missing, "property_files": files}
    return {name: value for name, value in result.items() if value}


def job_outputs(
    attempt: Attempt,
    job_type: JobType,
    description: Mapping[str, Any],
    step: Step | None,
    references: Sequence[Get],
    client: Callable[[], Any],
    keep: Callable[[Any], Any],
) -> dict[str, Any]:
    """The outputs of a successful job, as JSON values. Raises :class:`OutputsTooLarge`.

    They are its status, its name and ARN (``job``, ``job_name``, ``job_arn``), its main results,
    such as ``model_artifact``, and the properties that the pipeline refers to. ``keep`` returns
    what the outputs have in the place of a return value, which may be large.
    """
    if step is not None:
        description = job_type.properties(step, description)
    part, arn = attempt.parts[-1], description.get(job_type.arn_key)
    description = job_type.with_details(client, description, properties_in(references))
    main = job_type.outputs(description)
    if RETURN_VALUE in main:
        main[RETURN_VALUE] = keep(escaped(json_safe(main[RETURN_VALUE])))
    # References find the parts of a return value in the outputs themselves.
    wanted = () if RETURN_VALUE in main else references
    result = {
        "step": attempt.step,
        "type": attempt.type,
        "status": job_type.status(description),
        "job": {"name": part.shown, "arn": arn},
        "job_name": part.shown,
        "job_arn": arn,
        **{name: value for name, value in main.items() if value or name == RETURN_VALUE},
        **(outputs_of(step, description, wanted) if step is not None else {}),
    }
    safe = dict(json_safe(result))
    check_size(attempt.step, safe)
    return safe


def properties_in(references: Iterable[Get]) -> frozenset[str]:
    """The first names of the properties that expressions refer to, such as ``ModelArtifacts``."""
    named = (one.tokens[1] for one in references if len(one.tokens) > 1)
    return frozenset(one.name for one in named if not isinstance(one, Index))


def path_text(reference: Get) -> str:
    """The path of a reference below its step, in canonical spelling, such as ``A.B['c']``."""
    return "".join(str(token) for token in reference.tokens[1:]).removeprefix(".")


def look_up(
    value: Any,
    tokens: Sequence[Token],
    *,
    by_name: bool = True,
    content: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """The value at a path. Raises LookupError(problem, available names).

    ``by_name`` allows named items of lists, such as ``Outputs['train']``; JSON files have none.
    ``content`` returns what a path finds in a value, such as the fields of an object.
    """
    parent = ""
    for token in tokens:
        value = _descend(content(value), token, parent, by_name=by_name)
        parent = "" if isinstance(token, Index) else token.name
    return value


def _descend(value: Any, token: Token, parent: str, *, by_name: bool) -> Any:
    match value, token:
        case TupleFields(), Index():
            return _descend(list(value.values()), token, parent, by_name=by_name)
        case Mapping(), Member(name) | Key(name):
            if name in value:
                return value[name]
            raise LookupError(f"no key {name!r}", list(value))
        case list() | tuple(), Index(position):
            if position < len(value):
                return value[position]
            raise LookupError(f"no item {position}", [f"{len(value)} items"])
        case list() | tuple(), Member(name) | Key(name) if by_name:
            return _named_item(value, name, parent)
        case str(), _ if by_name and parent in JSON_DOCUMENTS:
            try:
                document = json.loads(value)
            except ValueError as error:
                raise LookupError(f"{parent} is not JSON ({error})", []) from None
            return _descend(document, token, "", by_name=False)
    raise LookupError(f"nothing below {parent!r}", [type(value).__name__])


def _named_item(items: Sequence[Any], name: str, parent: str) -> Any:
    rows = [item for item in items if isinstance(item, Mapping)]
    if parent in LIST_KEYS:
        key = LIST_KEYS[parent]
        found = [row for row in rows if row.get(key) == name]
        there = [str(row.get(key)) for row in rows]
    else:
        found = [row for row in rows if name in [v for v in row.values() if isinstance(v, str)]]
        there = [f"{len(items)} items"]
    if len(found) != 1:
        raise LookupError(f"{len(found)} items are named {name!r}", there)
    return found[0]


def _file_uri(description: Mapping[str, Any], output: str, path: str) -> str | None:
    tokens = (Member("ProcessingOutputConfig"), Member("Outputs"), Key(output))
    try:
        uri = look_up(description, (*tokens, Member("S3Output"), Member("S3Uri")))
    except LookupError:
        return None
    return f"{str(uri).rstrip('/')}/{path.lstrip('/')}"


def json_safe(value: Any) -> Any:
    """A value of a boto3 response as JSON: times in ISO 8601, bytes decoded as UTF-8."""
    match value:
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case bytes():
            return value.decode(errors="replace")
        case Mapping():
            return {str(name): json_safe(item) for name, item in value.items()}
        case list() | tuple():
            return [json_safe(item) for item in value]
    return value


def check_size(step: str, outputs: Mapping[str, Any]) -> None:
    size = len(json.dumps(outputs).encode())
    if size > LIMIT:
        raise OutputsTooLarge(step, size, LIMIT)


def _part_of_result(reference: Get, value: Any) -> Any:
    """The return value of user code, or the part that the reference selects."""
    try:
        return look_up({RETURN_VALUE: value}, reference.tokens[1:], by_name=False, content=inside)
    except LookupError as absent:
        there = absent.args[1] if len(absent.args) > 1 else []
        raise Unresolvable(
            reference.text, str(absent.args[0]), [str(one) for one in there]
        ) from None


def property_of(reference: Get, outputs: Mapping[str, Any] | None) -> Any:
    """The referenced property in the outputs of its step. Raises :class:`Unresolvable`."""
    if outputs is None:
        raise Unresolvable(reference.text, f"step {reference.step!r} has no outputs")
    path = path_text(reference)
    properties = outputs.get("properties", {})
    if path in properties:
        return properties[path]
    if RETURN_VALUE in outputs:
        return _part_of_result(reference, outputs[RETURN_VALUE])
    if OUTPUT_PARAMETERS in outputs:
        with suppress(LookupError):
            named = {"OutputParameters": outputs[OUTPUT_PARAMETERS]}
            return look_up(named, reference.tokens[1:])
    there = outputs.get("missing", {}).get(path, [])
    raise Unresolvable(reference.text, f"step {reference.step!r} has no such property", there)
