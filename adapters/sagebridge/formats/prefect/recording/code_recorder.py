"""What a trace records of calls and code: steps of tasks, of code, and stubs of what is lost."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import Any

from sagebridge.authoring.flow_signature import SignatureArgument, read_hints
from sagebridge.authoring.value_types import OBJECT, value_type
from sagebridge.formats.prefect import flow_options
from sagebridge.formats.prefect.constructs import manager_rule
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame, StepCode
from sagebridge.formats.prefect.recording.server_values import ServerValue
from sagebridge.formats.prefect.recording.step_recorder import StepRecorder
from sagebridge.formats.prefect.recording.symbols import (
    Future,
    Futures,
    NotFollowed,
    RunTimeValueUsed,
    Symbol,
    UnsupportedValue,
    definition_value,
    for_code,
    holds_symbol,
    is_symbol,
    leaves,
    result_step,
)
from sagebridge.formats.python.function_source import NotSelfContained, function_text, of_function
from sagebridge.model.code_steps import (
    PYTHON,
    RETURN_VALUE,
    STUB,
    CarriedStep,
    PythonStep,
    StubStep,
    call_arguments,
    quoted_source,
    stub_arguments,
)
from sagebridge.model.dependencies import Dependency, ended
from sagebridge.model.display import free_name
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import Get, Member, parameter, plain
from sagebridge.model.losses import ON_ITS_OWN
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Step, step_references
from sagebridge.model.values import ABSENT, Object, Value, key_of


class CodeRecorder(StepRecorder):
    """Records the calls and code of a flow."""

    flow: Any
    signature: list[SignatureArgument]

    def fail(self, line: int, message: Any) -> None:
        name = self.name("Fail")
        try:
            text = definition_value(message)
        except UnsupportedValue:
            text = str(message)
        if not isinstance(text, str) and not is_symbol(message):
            text = str(message)
        self.record_step(Step(name, "Fail", arguments=Object({"ErrorMessage": text})), line)
        self.state.ended[name] = None

    def code(
        self,
        code: StepCode,
        wanted: str,
        line: int,
        *,
        own: bool = False,
        rule: str = "",
        place: Any = None,
        pure: bool = False,
    ) -> str:
        """A step of code of the flow. Steps after it depend on it, unless it is ``pure``."""
        key = (code.function.code, key_of(list(code.arguments)))
        for name, blocks in self.state.pure.get(key, ()) if pure else ():
            if blocks == self.state.blocks[: len(blocks)]:
                return name
        name, function = self.name(wanted), code.function
        others = [one.function for one in self.state.steps.values() if isinstance(one, PythonStep)]
        others = [one for one in others if one.name == function.name]
        if others and function not in others:
            function = code.renamed(name.replace("-", "_"))
        if pure:
            place = place or self.place()
            place = (*place[:2], (), *place[3:])
            self.state.pure[key] = (*self.state.pure.get(key, ()), (name, list(place[0])))
        step = Step(name, PYTHON, plain(Object(call_arguments(code.arguments, {}))))
        tags = self.tags if place is None else place[4]
        engine = EngineSettings(trigger_rule=rule, tags=tags)
        made = replace(PythonStep.of(step, function, str(line)), engine=engine)
        self.record_step(made, line, place)
        if own:
            self.own_tasks.append(name)
        if not rule and not pure:
            self.state.ended[name] = None
        return name

    def result_of(self, name: str, type_: str = "") -> Symbol:
        return Symbol(Get("Steps", (Member(name), Member(RETURN_VALUE))), type_)

    def future_of(self, found: Symbol) -> Future:
        """The result of a step, whose parts have ``.result()`` in the flow."""
        get = found._expression
        return Future(get, OBJECT, lambda: self.state.ended.update({get.step: None}))

    def task(
        self,
        task: Any,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
        wait_for: Any = None,
        *,
        blocks: bool,
        wanted: str = "",
    ) -> Future:
        """A call of a task: a step that carries its code, or a loss if it cannot be carried."""
        line = self.line()
        # What Task.__get__ binds (prefect/tasks.py).
        bound = (getattr(task.fn, f"__prefect_{one}__", None) for one in ("cls", "self"))
        arguments = [*(one for one in bound if one is not None), *arguments]
        own_names = [*inspect.signature(task.fn).parameters, *[""] * len(arguments)]
        values = [self.argument(*one) for one in zip(arguments, own_names, strict=False)]
        keywords = {key: self.argument(one, key) for key, one in named.items()}
        name = self.name(wanted or task_run_name(task, arguments, named))
        before = tuple(dict.fromkeys(dependencies_of(wait_for)))
        given = plain(Object(call_arguments(values, keywords)))
        step = Step(name, PYTHON, given, before or ABSENT)
        made = self.code_step(step, task.fn, decorated=True)
        engine = flow_options.task_settings(task, self.tags)
        if tolerant := set(tolerant_steps([*arguments, *named.values()])):
            needed = {one.step for one in step_references(step)} | {*step.dependencies}
            if needed <= tolerant:
                engine = replace(engine, trigger_rule="all_done")
            else:
                what = "allow_failure has no effect: another argument needs the success of its task"
                self.report("trigger-rule", "changed", what, line=line, step=name)
        self.record_step(replace(made, engine=engine), line)
        for lost in flow_options.unsupported_options(task):
            self.report(*lost, line=line, who=f"task {name}", step=name)
        self.own_tasks.append(name)
        if blocks:
            self.state.ended[name] = None
        elif not any(block == "body" for _, block in self.state.blocks):
            self.state.started[name] = line
        type_ = value_type(read_hints(task.fn).get("return")).parameter_type
        get = Get("Steps", (Member(name), Member(RETURN_VALUE)))
        return Future(get, type_, lambda: self.state.ended.update({name: None}))

    def argument(self, value: Any, name: str = "") -> Value:
        """An argument of a task; a step makes a known value that is not JSON."""
        # The annotations of prefect/utilities/annotations.py.
        kind = type(value).__name__
        if kind in ("unmapped", "quote", "allow_failure", "opaque", "freeze"):
            value = value.unwrap()
        try:
            return definition_value(for_code(value))
        except UnsupportedValue as why:
            if is_symbol(value):
                raise NotFollowed(self.line(), f"an argument is {why}") from None
        name = name or "value"
        try:
            code = code_steps.of_value(value, self.file, self.file_frame(), name)
        except UnsupportedValue as why:
            raise NotFollowed(self.line(), f"an argument is {why}") from None
        return definition_value(self.result_of(self.code(code, name, self.line(), pure=True)))

    def file_frame(self) -> Frame:
        """A frame without variables."""
        definition = self.file.definition(self.flow.fn)
        assert definition is not None
        return Frame(dict(self.file.names), definition)

    def code_step(self, step: Step, function: Any, *, decorated: bool = False) -> CarriedStep:
        """The step that calls a function; a stub if it cannot be carried."""
        try:
            found = of_function(function, decorated=decorated, file=self.file.path)
        except NotSelfContained as why:
            return self._lost(step, function, f"it {why}", f"task {step.name}")
        return PythonStep.of(step, found, str(self.line()))

    def _lost(self, step: Step, function: Any, why: str, who: str) -> StubStep:
        what = f"{why}, so it is dropped"
        self.report("python-task", "dropped", what, ON_ITS_OWN, who=who, step=step.name)
        returns = value_type(read_hints(function).get("return")).parameter_type
        source = quoted_source(function_text(function))
        return self._stub(step, f"Python task: {why}", source, "" if returns == OBJECT else returns)

    def drop(self, step: Step, why: str) -> StubStep:
        """The stub of a step whose arguments are not known, which is reported."""
        what = f"an argument is {why}, so it is dropped"
        who = f"step {step.name}"
        self.report("run-time-argument", "dropped", what, who=who, step=step.name)
        return self._stub(step, f"{step.type} step: an argument is {why}", ())

    def code_stub(
        self, nodes: Sequence[ast.AST], wanted: str, why: str, arguments: Sequence[Any] = ()
    ) -> str:
        """The stub of code of the flow that cannot be carried, which is reported."""
        name, line = self.name(wanted), int(nodes[0].lineno)  # type: ignore[attr-defined]
        what = f"{why}, so it is dropped"
        self.report("run-time-code", "dropped", what, ON_ITS_OWN, line=line, step=name)
        before = dict.fromkeys(steps_of(list(arguments)))
        step = Step(name, PYTHON, Object(call_arguments((), {})), tuple(before))
        source = quoted_source("\n".join(map(ast.unparse, nodes)))
        self.record_step(self._stub(step, f"code of the flow: {why}", source), line)
        self.state.ended[name] = None
        return name

    def _stub(self, step: Step, reason: str, source: Sequence[str], returns: str = "") -> StubStep:
        self.state.dropped[step.name] = None
        place = f"{self.file.name}:{self.line()}"
        before = (*step.dependencies, *(one.step for one in step_references(step) if one.step))
        stub = replace(
            step,
            type=STUB,
            arguments=Object(stub_arguments(reason, place, source)),
            depends_on=tuple(dict.fromkeys(before)) or ABSENT,
        )
        return StubStep.of(stub, str(self.line()), returns)

    def manager(self, manager: Any, line: int) -> None:
        """Report a context manager that only acts at run time."""
        generator: Any = getattr(manager, "gen", None)
        # contextlib._GeneratorContextManager and its asynchronous form keep the generator here.
        frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        if frame is not None:
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
        else:
            name = f"{type(manager).__module__}.{type(manager).__qualname__}"
        rule = None if name.startswith("sagebridge.") else manager_rule(name)
        if rule is not None:
            shown_name = name.rpartition(".")[2]
            self.report(*rule._replace(what=rule.what.format(name=shown_name)), line=line)

    def server_parameter(self, value: ServerValue) -> Get:
        """The parameter for a value that only a Prefect server has."""
        if value not in self.state.parameters:
            taken = {one.name for one in self.signature}
            taken |= {one.name for one in self.state.parameters.values()}
            name = free_name(value.name, taken)
            line = f"line {value.line} of {self.file.name}"
            description = f"Replaces {value.what} ({line})"
            made = Parameter(name, value.type, value.default, description=description)
            self.state.parameters[value] = made
            what = f"{value.what} is a run-time value; it becomes the parameter {name!r}"
            self.report("computed-value", "changed", what, "set the parameter", line=value.line)
        return parameter(self.state.parameters[value].name)


def task_run_name(task: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """The ``task_run_name`` if it needs no run-time value, otherwise the task's name."""
    template = task.task_run_name
    if isinstance(template, str):
        try:
            bound = inspect.signature(task.fn).bind(*arguments, **named)
            bound.apply_defaults()
            asked = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
            if not any(holds_symbol(bound.arguments.get(one.split(".")[0])) for one in asked):
                return template.format(**bound.arguments)
        except (TypeError, LookupError, ValueError, AttributeError, RunTimeValueUsed):
            pass
    return str(task.name)


def steps_of(waited: Any) -> Iterator[str]:
    """The steps whose results ``wait_for`` contains."""
    for one in leaves(waited):
        if (step := result_step(one)) is not None:
            yield step


def tolerant_steps(arguments: Sequence[Any]) -> Iterator[str]:
    """The steps whose results are in ``allow_failure`` in the arguments of a call."""
    for one in leaves(arguments):
        if type(one).__name__ == "allow_failure":
            yield from steps_of(one.unwrap())


def dependencies_of(waited: Any) -> Iterator[str | Dependency]:
    """The steps in ``wait_for``; those in ``allow_failure`` with the trigger Any."""
    if type(waited).__name__ == "allow_failure":
        yield from map(ended, steps_of(waited.unwrap()))
    elif type(waited) in (list, tuple, set, Futures):
        for one in waited:
            yield from dependencies_of(one)
    elif waited is not None:
        yield from steps_of(waited)
