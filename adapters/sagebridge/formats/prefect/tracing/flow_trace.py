"""The trace of a flow: its steps, their names and order, and what is lost."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from types import FunctionType
from typing import Any, get_origin

from sagebridge.authoring.file_arguments import in_definition_order, step_order
from sagebridge.authoring.flow_signature import (
    TYPES,
    FlowArgument,
    SignatureArgument,
    read_hints,
    read_signature,
)
from sagebridge.authoring.pipeline_builder import CURRENT
from sagebridge.authoring.value_types import OBJECT, value_type
from sagebridge.formats.prefect import flow_options
from sagebridge.formats.prefect.constructs import manager_rule
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame, StepCode
from sagebridge.formats.prefect.recording.server_values import ServerValue
from sagebridge.formats.prefect.recording.step_recorder import StepRecorder
from sagebridge.formats.prefect.recording.step_tree import with_dependencies
from sagebridge.formats.prefect.recording.symbols import (
    Future,
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
from sagebridge.formats.prefect.recording.traced_builder import TracedBuilder
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.prefect.tracing.branch_tests import NotFollowed
from sagebridge.formats.prefect.tracing.branches import Returned
from sagebridge.formats.prefect.tracing.interpreter import Interpreter
from sagebridge.formats.prefect.tracing.task_maps import (
    dependencies_of,
    steps_of,
    tolerant_steps,
)
from sagebridge.formats.python.engine_losses import Unsupported
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
from sagebridge.model.display import free_name, shown
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import Get, Member, parameter, plain
from sagebridge.model.losses import ON_ITS_OWN, Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Parallelism, Pipeline, Step, step_references
from sagebridge.model.values import ABSENT, Object, Value, key_of


class FlowTrace(StepRecorder):
    """The trace of one flow."""

    def __init__(
        self, flow: Any, file: UserFile, imported: Sequence[tuple[Unsupported, int]]
    ) -> None:
        super().__init__(flow.name, file, flow.fn.__code__.co_firstlineno)
        self.flow = flow
        self.signature = list(read_signature(flow.fn))
        self.arguments = [
            self._argument_of(one)
            for one in self.signature
            if one.parameter is not None or one.default is ABSENT
        ]
        description = flow_options.description(flow)
        self.builder = TracedBuilder(self, flow.name, self.arguments, description)
        self.interpreter = Interpreter(self)
        self.in_step = False
        self.return_line = 0
        for lost in flow_options.unsupported_options(flow):
            self.report(*lost, line=self._first_line, who="the flow")
        for one in self.signature:
            line = file.argument_line(flow.fn, one.name)
            if is_empty_none(one):
                what = f"parameter {shown(one.name)} is empty instead of null"
                self.report("param-type", "info", what, line=line, who="the flow")
            for part in one.losses:
                if not is_empty_none(one) or part[0] != "param-type":
                    self.report(*part, line=line, who="the flow")
        for unsupported, line in imported:
            self.report(*unsupported, line=line)

    @property
    def _first_line(self) -> int:
        return int(self.flow.fn.__code__.co_firstlineno)

    @staticmethod
    def _argument_of(one: SignatureArgument) -> FlowArgument:
        if one.parameter is None:
            return FlowArgument(one.name, description=one.description)
        return replace(one.parameter, default="") if is_empty_none(one) else one.parameter

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        """The pipeline, and what is lost. Raises :class:`FlowError`."""
        given = {one.name: self._given(one) for one in self.signature}
        kinds = inspect.signature(self.flow.fn).parameters
        positional = [
            given.pop(name)
            for name, one in kinds.items()
            if one.kind is one.POSITIONAL_ONLY and name in given
        ]
        reset = CURRENT.set(self.builder)
        state = self.state.saved()
        try:
            self._end(self.interpreter.call_function(self.flow.fn, positional, given))
        except Returned:  # it failed
            pass
        except NotFollowed as why:
            if any(not isinstance(one, CarriedStep) for one in self.builder.steps.values()):
                what = f"{why.what}; the rest of the flow is ignored"
                self.report(why.code, "dropped", what, line=why.line)
            else:
                self.restore(state)
                self._whole(why, given, positional)
        finally:
            CURRENT.reset(reset)
        return self._pipeline(), tuple(self._located_losses())

    def _whole(self, why: NotFollowed, given: Mapping[str, Any], positional: Sequence[Any]) -> None:
        """The flow as one step, which calls its tasks itself."""
        definition = self.file.definition(self.flow.fn)
        assert definition is not None
        names = dict(zip(kinds_of(self.flow.fn), positional, strict=False)) | dict(given)
        frame = Frame({**self.flow.fn.__globals__}, definition)
        for name, value in names.items():
            frame.set(name, value)
        wanted = definition.name
        try:
            code = code_steps.of_statements(definition.body, (), self.file, frame, wanted)
        except UnsupportedValue as error:
            what = f"{why.what}; it uses {error}"
            name = self.name(wanted)
            step = Step(name, PYTHON, Object(call_arguments((), {})))
            self.record_step(self._lost(step, self.flow.fn, what, f"flow {name}"), why.line)
            return
        name = self.code(code, wanted, self._first_line, own=True)
        what = f"{why.what}: the flow is one step, which calls its tasks itself"
        self.report(why.code, "changed", what, line=why.line, step=name)

    def _pipeline(self) -> Pipeline:
        steps = with_dependencies(self.state.nodes)
        order = step_order(self.builder.definition)
        pipeline = replace(
            self.builder.pipeline(),
            steps=in_definition_order(steps, order),
            engine=flow_options.flow_settings(self.flow),
        )
        if (limit := flow_options.parallel_limit(self.flow)) is not None:
            pipeline = replace(pipeline, parallelism=Parallelism(limit))
        added = tuple(self.state.parameters.values())
        return replace(pipeline, parameters=(*pipeline.declared, *added)) if added else pipeline

    def _located_losses(self) -> Iterator[Loss]:
        """The losses by line; one without a step gets the step that its line declares, if any."""
        steps = {str(line): name for name, line in reversed(self.lines.items())}
        for loss in sorted(self.state.losses, key=lambda one: int(one.place)):
            yield loss if loss.step else replace(loss, step=steps.get(loss.place, ""))

    def _given(self, one: SignatureArgument) -> Any:
        if one.parameter is None and one.default is not ABSENT:
            return one.default
        hint = read_hints(self.flow.fn).get(one.name)
        plain_value = Symbol(parameter(one.name), OBJECT)
        if one.parameter is not None:
            plain_value = Symbol(parameter(one.name), TYPES[one.parameter.type])
            kind = self.file.global_name(hint) if one.type.enumeration else None
            if is_empty_none(one) or kind:
                code = "text or None" if kind is None else f"{kind}(text)"
                plain_value._made = self._made_of(one.name, code)
            return plain_value
        if (get_origin(hint) or hint) in (list, dict, tuple, set):
            plain_value = Symbol(self._made_of(one.name, "json.loads(text)"), OBJECT)
        return plain_value

    def _made_of(self, name: str, code: str) -> Callable[[], Value]:
        """Makes a step that converts an argument, a string, to the value it stands for."""
        place = (*self.place()[:2], (), (), ())

        def made() -> Value:
            frame = self.file_frame()
            frame.set("text", Symbol(parameter(name), "String"))
            nodes = ast.parse(f"import json\n{name} = {code}").body[0 if "json." in code else 1 :]
            function = code_steps.of_statements(nodes, [name], self.file, frame, name)
            step = self.code(function, name, self._first_line, at=place, pure=True)
            return self.result_of(step)._definition_value()

        return made

    def is_enumeration(self, value: Symbol) -> bool:
        """Whether it is an argument that is an Enum in the flow."""
        names = [one.name for one in self.signature if one.type.enumeration]
        get = value._expression
        return type(get) is Get and get.root == "Parameters" and get.name in names

    def is_set(self, value: Any) -> bool:
        """Whether a run-time value is an argument that cannot be None."""
        get = value._expression if is_symbol(value) else None
        if type(get) is not Get or get.root != "Parameters":
            return False
        return not any(
            one.name == get.name and (one.type.nullable or one.default is None)
            for one in self.signature
        )

    def _end(self, returned: Any) -> None:
        line = self.return_line or self._first_line
        state = None if is_symbol(returned) else getattr(type(returned), "is_completed", None)
        if state is not None:
            returned = self.end_state(returned, returned.message)
        if returned is not None:
            carried = state is not None or all(map(self._is_kept, leaves(returned)))
            where = "which its steps hold" if carried else "which is not carried over"
            what = f"the flow returns a value, {where}: a pipeline has no result"
            self.report("flow-result", "info" if carried else "changed", what, line=line)

    def end_state(self, state: Any, message: Any) -> Any:
        """End the flow in a state of Prefect."""
        made = state() if isinstance(state, FunctionType) else state
        if made.is_completed():
            return made
        if not made.is_failed():
            what = f"the flow ends in the state {made.name}, which becomes a Fail step"
            self.report("task-state", "changed", what, line=self.return_line)
        self.fail(self._first_line, message if is_symbol(message) else message or made.name)
        raise Returned(None, failed=True)

    def _is_kept(self, value: object) -> bool:
        """Whether a value is the result of a step that is not dropped, or a part of it."""
        if is_symbol(value) and callable(value._expression):  # type: ignore[attr-defined]
            return True
        step = result_step(value)
        return step is not None and step not in self.state.dropped

    def yields(self, line: int, frame: Frame) -> None:
        if frame.definition is self.file.definition(self.flow.fn):
            what = "yield: a pipeline has no values before its end"
            self.report("flow-result", "changed", what, line=line)

    def fail(self, line: int, message: Any) -> None:
        name = self.name("Fail")
        try:
            text = definition_value(message)
        except UnsupportedValue:
            text = str(message)
        if not isinstance(text, str) and not is_symbol(message):
            text = str(message)
        self.record_step(Step(name, "Fail", arguments=Object({"ErrorMessage": text})), line)

    def code(
        self,
        code: StepCode,
        wanted: str,
        line: int,
        *,
        own: bool = False,
        rule: str = "",
        at: Any = None,
        pure: bool = False,
    ) -> str:
        """A step of code of the flow. Steps after it depend on it, unless it is ``pure``."""
        key = (code.function.code, key_of(list(code.arguments)))
        for name, blocks in self.state.pure.get(key, ()) if pure else ():
            if blocks == self.state.blocks[: len(blocks)]:
                return name
        name = self.name(wanted)
        if pure:
            at = at or self.place()
            at = (*at[:2], (), *at[3:])
            self.state.pure[key] = (*self.state.pure.get(key, ()), (name, list(at[0])))
        step = Step(name, PYTHON, plain(Object(call_arguments(code.arguments, {}))))
        groups, tags = (self.groups, self.tags) if at is None else at[3:]
        engine = EngineSettings(trigger_rule=rule, group=groups, tags=tags)
        made = replace(PythonStep.of(step, code.function, str(line)), engine=engine)
        self.record_step(made, line, at)
        if own:
            self.own_tasks.append(name)
        if not rule and not pure:
            self.state.ended[name] = None
        return name

    def result_of(self, name: str, type_: str = "") -> Symbol:
        return Symbol(Get("Steps", (Member(name), Member(RETURN_VALUE))), type_)

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
        values = [self.argument(one) for one in arguments]
        keywords = {key: self.argument(one, key) for key, one in named.items()}
        name = self.name(wanted or task_run_name(task, arguments, named))
        before = tuple(dict.fromkeys(dependencies_of(wait_for)))
        given = plain(Object(call_arguments(values, keywords)))
        step = Step(name, PYTHON, given, before or ABSENT)
        made = self.code_step(step, task.fn, decorated=True)
        engine = flow_options.task_settings(task, self.groups, self.tags)
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
        type_ = value_type(read_hints(task.fn).get("return")).parameter_type
        get = Get("Steps", (Member(name), Member(RETURN_VALUE)))
        return Future(get, type_, lambda: self.state.ended.update({name: None}))

    def argument(self, value: Any, name: str = "value") -> Value:
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

    def subflow(self, flow: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """A call of a flow: its steps are a group."""
        if self.file.definition(flow.fn) is None:
            raise NotFollowed(self.line(), f"the subflow {flow.name!r} is in another file")
        what = f"subflow {shown(flow.name)}: its steps become steps of this flow"
        self.report("subflow", "info", what)
        for lost in flow_options.unsupported_options(flow):
            self.report(*lost, who=f"the flow {flow.name}")
        named = dict(named)
        for step in dependencies_of(named.pop("wait_for", None)):
            self.state.ended[step if isinstance(step, str) else step.step] = None
        if named.pop("return_state", False):
            raise NotFollowed(self.line(), "return_state=True", "task-state", whole=True)
        name = free_name(flow.name, self.state.names, flow.name, "-")
        self.state.names.add(name)
        self.groups.append(name)
        try:
            return self.interpreter.call_function(flow.fn, arguments, named)
        finally:
            self.groups.pop()

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


def is_empty_none(one: SignatureArgument) -> bool:
    """Whether an empty string stands for None, the default of an argument."""
    given = one.parameter
    return given is not None and given.type == "str" and one.default is None and not given.choices


def kinds_of(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


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
