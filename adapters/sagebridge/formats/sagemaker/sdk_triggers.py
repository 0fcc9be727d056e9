"""Read the triggers of a SageMaker SDK pipeline: PipelineSchedule of versions 2 and 3.

The SDK keeps no list of them: a file passes them to ``put_triggers``, usually below
``if __name__ == "__main__"``, which reading does not execute. So they are found in these calls, as
variables of the module or as constructors with literal arguments. A call that is executed only
records them, since it would create the schedules on AWS.

This module does not import the SDK: a trigger is any object with ``resolve_schedule_expression``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sagebridge.authoring.python_files import sdk_pipelines
from sagebridge.model.display import free_name, shown
from sagebridge.model.losses import Loss
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, EMPTY, Object

SDK_MODULES = ("sagemaker.workflow.pipeline", "sagemaker.mlops.workflow.pipeline")
"""The modules of SDK 2 and 3 with the class Pipeline, which has put_triggers."""
_RECORDED = "_sagebridge_triggers"
_METHOD = "put_triggers"


def is_trigger(value: object) -> bool:
    return callable(getattr(value, "resolve_schedule_expression", None))


def triggers_of(value: Any) -> list[Any]:
    """A trigger, or a list of triggers, as a list; empty for any other object."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values if values and all(map(is_trigger, values)) else []


@contextmanager
def recording(modules: Mapping[str, Any]) -> Iterator[None]:
    """Let ``put_triggers`` of the loaded SDK keep its arguments and create nothing on AWS."""

    def put_triggers(self: Any, triggers: Any, role_arn: Any = None) -> list[str]:
        vars(self).setdefault(_RECORDED, []).append((triggers, role_arn))
        return []

    classes = [modules[name].Pipeline for name in SDK_MODULES if name in modules]
    saved = [getattr(one, _METHOD) for one in classes]
    try:
        for one in classes:
            setattr(one, _METHOD, put_triggers)
        yield
    finally:
        for one, original in zip(classes, saved, strict=True):
            setattr(one, _METHOD, original)


class TriggerReader:
    """Reads triggers as schedules of one pipeline."""

    def __init__(self, source: str, name: str, call: Callable[..., Any]) -> None:
        """``call`` runs user code and reports its errors for ``source``."""
        self.source, self.name, self.call = source, name, call
        self.schedules: list[Schedule] = []
        self.losses: list[Loss] = []

    def add(self, triggers: list[Any], role: Any = None) -> None:
        for trigger in triggers:
            taken = {one.name for one in self.schedules}
            given = getattr(trigger, "name", None)
            expression = self.call(trigger.resolve_schedule_expression, "the trigger", self.source)
            target = {"Target": {"RoleArn": role}} if isinstance(role, str) else EMPTY
            self.schedules.append(
                Schedule(
                    given if isinstance(given, str) else free_name(self.name, taken, separator="-"),
                    expression,
                    start=self._start(trigger),
                    enabled=bool(getattr(trigger, "enabled", True)),
                    extra=Object(target),
                )
            )

    def _start(self, trigger: Any) -> Any:
        start = getattr(trigger, "start_date", None)
        if not isinstance(start, datetime):
            return ABSENT
        if start.tzinfo is not None:
            return start.isoformat()
        # botocore.utils.parse_to_aware_datetime
        what = "start_date has no time zone and is read as UTC; boto3 uses the machine's zone"
        self._lose("changed", what, "add tzinfo to start_date")
        return f"{start.isoformat()}Z"

    def add_recorded(self, pipeline: Any) -> bool:
        """Add what was passed to ``put_triggers`` when the file was executed."""
        calls = getattr(pipeline, "__dict__", {}).get(_RECORDED, [])
        for triggers, role in calls:
            self.add(triggers_of(triggers), role)
        return bool(calls)

    def add_calls(self, module: Any, attribute: str) -> None:
        """Add the triggers in calls of ``put_triggers`` in the file of a module."""
        file = getattr(module, "__file__", None)
        try:
            tree = ast.parse(Path(str(file)).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return
        others = {one.split()[0] for one in sdk_pipelines(tree)} - {attribute}
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr="put_triggers")):
                    if not (isinstance(owner, ast.Name) and owner.id in others):
                        self._add_call(node, vars(module), f"{file}:{node.lineno}")

    def _add_call(self, node: ast.Call, names: Mapping[str, Any], place: str) -> None:
        given = dict(zip(("triggers", "role_arn"), node.args, strict=False))
        given |= {one.arg: one.value for one in node.keywords if one.arg}
        try:
            triggers = triggers_of(_value(given["triggers"], names))
            role = _value(given["role_arn"], names) if "role_arn" in given else None
        except (KeyError, ValueError):
            triggers, role = [], None
        if triggers:
            self.add(triggers, role)
            return
        what = "the triggers of put_triggers() are neither variables of the file nor literals"
        fix = f"pass them with --schedules {self.source.partition(':')[0]}:NAME"
        self._lose("dropped", what, fix, place)

    def _lose(self, severity: Any, what: str, fix: str, place: str = "") -> None:
        self.losses.append(Loss("schedule", severity, place or self.source, what, "sagemaker", fix))


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """A variable of the file, a literal, or a trigger with such arguments. Raises ValueError."""
    match node:
        case ast.Name(id=name):
            if name in names:
                return names[name]
            raise ValueError(f"no variable {shown(name)}")
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, names) for item in items]
        case ast.Call(func=ast.Name(id=name)) if is_trigger(names.get(name)):
            given = {one.arg: ast.literal_eval(one.value) for one in node.keywords if one.arg}
            return names[name](*map(ast.literal_eval, node.args), **given)
    return ast.literal_eval(node)
