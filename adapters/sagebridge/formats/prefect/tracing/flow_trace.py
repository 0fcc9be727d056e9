"""The trace of a flow, which is called once per path until each test has taken both branches."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from sagebridge.authoring.file_arguments import in_definition_order, step_order
from sagebridge.authoring.flow_signature import (
    TYPES,
    FlowArgument,
    SignatureArgument,
    read_signature,
)
from sagebridge.authoring.pipeline_builder import CURRENT
from sagebridge.authoring.value_types import OBJECT
from sagebridge.errors import FlowError
from sagebridge.formats.prefect.tracing import flow_options
from sagebridge.formats.prefect.tracing.path_merging import (
    Decision,
    FlowStep,
    TracePath,
    WithBlock,
    merge_paths,
)
from sagebridge.formats.prefect.tracing.run_time_parameters import (
    RunTimeParameter,
    parameter_name,
    with_parameters,
    without_unused,
)
from sagebridge.formats.prefect.tracing.server_values import ImportTrace
from sagebridge.formats.prefect.tracing.step_naming import StepNames
from sagebridge.formats.prefect.tracing.symbols import (
    Future,
    Futures,
    Symbol,
    Test,
    UnsupportedValue,
    UntraceableCode,
    definition_value,
    flattened,
    result_step,
)
from sagebridge.formats.prefect.tracing.task_calls import (
    TracedFile,
    argument_types,
    dependencies_of,
    mapped_calls,
    mapped_output,
    return_type,
    run,
    steps_of,
    task_run_name,
    unwrap,
    with_item,
)
from sagebridge.formats.prefect.tracing.trace_helpers import tracing
from sagebridge.formats.prefect.tracing.traced_builder import TracedBuilder
from sagebridge.formats.python.function_source import NotSelfContained, function_text, of_function
from sagebridge.formats.python.import_guard import SideEffectError
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
from sagebridge.model.expressions import (
    Get,
    Member,
    current_item,
    parameter,
    plain,
    references,
)
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import ON_ITS_OWN, Loss, Severity
from sagebridge.model.pipeline import Parallelism, Pipeline, Step, step_references
from sagebridge.model.values import ABSENT, Object, Value, key_of

MAX_PATHS = 64
"""The most paths through a flow that are followed."""
TARGET = "pipeline"
_MAPPED = "is mapped"
_MOST_ITERATIONS = 50
"""The most iterations of a ForEach at the same time; Prefect has no limit."""
_REST = "the rest of this branch is ignored"


class TooManyPaths(Exception):
    """A flow with more than :data:`MAX_PATHS` paths."""


@dataclass(slots=True)
class _Path:
    """One path through the flow; ``decisions`` are the outcomes of its tests, in order."""

    decisions: Sequence[bool]
    builder: TracedBuilder
    items: list[FlowStep | Decision] = field(default_factory=list)
    ended: dict[str, None] = field(default_factory=dict)
    outcomes: list[bool] = field(default_factory=list)
    known: dict[Any, bool] = field(default_factory=dict)
    counts: Counter[Any] = field(default_factory=Counter)
    stopped: UntraceableCode | None = None
    seen: int = 0
    return_line: int = 0


class FlowTrace:
    """The trace of one flow; symbols, tasks and steps call it."""

    importing = False

    def __init__(self, flow: Any, file: TracedFile, imported: ImportTrace) -> None:
        self.flow, self.file, self.imported = flow, file, imported
        self.signature = list(read_signature(flow.fn))
        self.arguments = [
            one.parameter or FlowArgument(one.name, description=one.description)
            for one in self.signature
            if one.parameter is not None or one.default is ABSENT
        ]
        self._reset(StepNames())

    def _reset(self, names: StepNames) -> None:
        """Start again, with these names."""
        self.texts: list[Symbol] = list(self.imported.texts)
        self.losses: dict[Loss, None] = {}
        self.lines: dict[str, int] = {}
        self.own_tasks: list[str] = []
        self.names = names
        self._run_time_parameters: dict[Any, RunTimeParameter] = {}
        self._dropped: dict[str, None] = {}
        self._mapped: set[str] = set()
        self.path = self._path(())
        self._report_options()

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        """The pipeline of all paths. Raises :class:`TooManyPaths`, :class:`FlowError`."""
        steps, renamed = merge_paths(self._paths())
        if (names := self.names.in_order(steps)) != self.names.given:
            self._reset(StepNames(dict(names)))
            steps, renamed = merge_paths(self._paths())
        self.own_tasks += [new for old, new in renamed if old in self.own_tasks]
        for old, new in renamed:
            self.lines[new] = self.lines.get(old, self._first_line)
            what = f"step {shown(old)} is in several branches; one copy is named {shown(new)}"
            self.report("step-name", "info", what, line=self.lines[new])
        builder = self.path.builder
        order = step_order(builder.definition)
        pipeline = replace(builder.pipeline(), steps=in_definition_order(steps, order))
        if (limit := flow_options.parallel_limit(self.flow)) is not None:
            pipeline = replace(pipeline, parallelism=Parallelism(limit))
        added = self._run_time_parameters.values()
        pipeline, losses = without_unused(with_parameters(pipeline, added), added)
        self.losses.update(dict.fromkeys(losses))
        return pipeline, tuple(sorted(self._located_losses(), key=lambda loss: int(loss.place)))

    def _located_losses(self) -> Iterator[Loss]:
        """The losses; one without a step gets the step that was declared on its line, if any."""
        steps = {str(line): name for name, line in reversed(self.lines.items())}
        for loss in self.losses:
            yield loss if loss.step else replace(loss, step=steps.get(loss.place, ""))

    def _report_options(self) -> None:
        for lost in flow_options.unsupported_options(self.flow):
            self.report(*lost, line=self._first_line, who="the flow")
        for one in self.signature:
            line = self.file.arguments.get((self._first_line, one.name), self._first_line)
            for lost_part in one.losses:
                self.report(*lost_part, line=line, who="the flow")
        for lost_part, line in self.imported.losses:
            self.report(*lost_part, line=line)

    @property
    def _first_line(self) -> int:
        return int(self.flow.fn.__code__.co_firstlineno)

    # Paths through the flow

    def _paths(self) -> list[TracePath]:
        paths: list[TracePath] = []
        pending: list[tuple[bool, ...]] = [()]
        while pending:
            if len(paths) == MAX_PATHS:
                raise TooManyPaths
            decisions = pending.pop()
            self.path = self._path(decisions)
            self._follow()
            paths.append(self.path.items)
            outcomes = self.path.outcomes
            pending += [(*outcomes[:at], False) for at in range(len(decisions), len(outcomes))]
        return paths

    def _path(self, decisions: Sequence[bool]) -> _Path:
        description = flow_options.description(self.flow)
        return _Path(decisions, TracedBuilder(self, self.flow.name, self.arguments, description))

    def _follow(self) -> None:
        given = {one.name: self._given(one) for one in self.signature}
        positional = [
            given.pop(name)
            for name, one in inspect.signature(self.flow.fn).parameters.items()
            if one.kind is one.POSITIONAL_ONLY
        ]
        reset = CURRENT.set(self.path.builder)
        try:
            with tracing(self):
                self._end(run(self.flow.fn, *positional, **given))
        except UntraceableCode:
            pass
        except FlowError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of the flow becomes a step
            self._record_exception(error)
        finally:
            CURRENT.reset(reset)
        if (stopped := self.path.stopped) is not None:
            # An `except` of the flow may have swallowed it.
            del self.path.items[self.path.seen :]
            what = f"{stopped.what}; {_REST}"
            self.report(stopped.code, "dropped", what, line=stopped.line)

    def _given(self, one: SignatureArgument) -> Any:
        if one.parameter is None and one.default is not ABSENT:
            return one.default
        type_ = OBJECT if one.parameter is None else TYPES[one.parameter.type]
        return Symbol(parameter(one.name), type_, self)

    def is_enumeration(self, value: Value) -> bool:
        """Whether a reference is to an argument that is an Enum in the flow."""
        names = [one.name for one in self.signature if one.type.enumeration]
        return isinstance(value, Get) and value.root == "Parameters" and value.name in names

    def _end(self, returned: Any) -> None:
        line = self.path.return_line or self._first_line
        state = getattr(type(returned), "is_completed", None) and returned
        if state and not state.is_completed():
            if not state.is_failed():
                what = f"the flow ends in the state {state.name}, which becomes a Fail step"
                self.report("task-state", "changed", what, line=line)
            self._fail(self._first_line, state.message or state.name)
        elif returned is not None:
            carried = bool(state) or all(map(self._is_kept, flattened(returned)))
            where = "which its steps hold" if carried else "which is not carried over"
            what = f"the flow returns a value, {where}: a pipeline has no result"
            self.report("flow-result", "info" if carried else "changed", what, line=line)

    def _is_kept(self, value: object) -> bool:
        """Whether a value is the result of a step that is not dropped, or a part of it."""
        step = result_step(value)
        return step is not None and step not in self._dropped

    def returns(self) -> None:
        self.path.return_line = self.file.line()

    def yields(self) -> None:
        # The frame that called the helper: a generator of the file may also serve the flow.
        if sys._getframe(2).f_code is self.flow.fn.__code__:
            what = "yield: a pipeline has no values before its end"
            self.report("flow-result", "changed", what)

    def _record_exception(self, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [one.lineno or 1 for one in frames if one.filename == self.file.path]
        line = lines[-1] if lines else self._first_line
        if frames[-1].filename == self.file.path and line in self.file.raises:
            message = error.args[0] if len(error.args) == 1 else str(error)
            self._fail(line, message)
            what = f"raise {type(error).__name__} becomes a Fail step"
            self.report("raised", "info", what, line=line)
            return
        who = (
            "the flow" if isinstance(error, SideEffectError) else f"raises {type(error).__name__}:"
        )
        what = re.sub("\ue000[0-9]+\ue001", "…", f"{who} {error}")
        self.report("run-time-code", "dropped", f"{what}; {_REST}", line=line)

    def _fail(self, line: int, message: Any) -> None:
        name = self._name("Fail", "fail", ("fail", line))
        self.lines[name] = line
        try:
            text = definition_value(message, self)
        except UnsupportedValue:
            text = str(message)
        step = Step(name, "Fail", arguments=Object({"ErrorMessage": text}))
        self.record_step(step, self.path.builder.inside)

    # Calls by symbols

    def in_file(self) -> bool:
        return sys._getframe(2).f_code.co_filename == self.file.path

    def stop(self, code: str, what: str) -> NoReturn:
        stopped = UntraceableCode(self.file.line(), code, what)
        if self.path.stopped is None:
            self.path.stopped, self.path.seen = stopped, len(self.path.items)
        raise self.path.stopped

    def report_change(self, code: str, what: str) -> None:
        self.report(code, "changed", what)

    def progress(self) -> int:
        """How many steps and decisions this path has so far."""
        return len(self.path.items)

    def finished(self, step: str) -> None:
        self.path.ended[step] = None

    def parameter_for(
        self,
        what: str,
        type_: str = "",
        *of: Any,
        line: int = 0,
        name: str = "",
        default: Value = ABSENT,
    ) -> Symbol:
        """A parameter for a value that Python computes from ``of``; equal values share one.

        ``type_`` is OBJECT if no parameter can hold the value, and empty if it is unknown. The
        value comes from ``line``, by default the current one. ``name`` is the wanted name.
        """
        line = line or self.file.line()
        try:
            key: Any = ("asked", what, type_, line, key_of(definition_value(list(of), self)))
        except UnsupportedValue:
            key = self._occurrence(("asked", what, type_))
        if key not in self._run_time_parameters:
            taken = {one.name for one in self.signature}
            taken |= {one.parameter.name for one in self._run_time_parameters.values()}
            self._run_time_parameters[key] = RunTimeParameter.of(
                what, type_, line, free_name(parameter_name(name, line), taken), default, self.file
            )
        found = self._run_time_parameters[key].parameter
        return Symbol(parameter(found.name), type_, self)

    def decide(self, test: Test) -> bool:
        try:
            conditions = tuple(definition_value(one, self) for one in test.conditions)
        except UnsupportedValue as why:
            self.stop("run-time-code", f"a comparison with {why}")
        return self.outcome(None, conditions, own=False)

    def outcome(self, name: str | None, conditions: Any, *, own: bool) -> bool:
        """The outcome of a test on this path, the same each time it is evaluated."""
        path = self.path
        known = ("own", name) if own else key_of(conditions)
        if known in path.known:
            return path.known[known]
        at = len(path.outcomes)
        met = path.decisions[at] if at < len(path.decisions) else True
        if name is None:
            name = self._name("Condition", "condition", self._occurrence(("condition",)))
            self.lines[name] = self.file.line()
        path.known[known] = met
        path.outcomes.append(met)
        path.items.append(
            Decision(name, tuple(conditions), met, tuple(path.ended), path.builder.inside, own)
        )
        return met

    # Steps and tasks

    def record_step(self, step: Step, inside: WithBlock) -> None:
        self.lines.setdefault(step.name, self.file.line())
        self.path.items.append(FlowStep(step, tuple(self.path.ended), inside))

    def task(
        self,
        task: Any,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
        wait_for: Any = None,
        *,
        blocks: bool,
        lost: str = "",
        wanted: str = "",
    ) -> Future:
        """A call of a task: a step that carries its code, or a loss if it cannot be carried."""
        line = self.file.line()
        wanted = wanted or task_run_name(task, arguments, named)
        name = self._name(wanted, ("task", wanted), self._occurrence(("task", wanted)))
        self.lines[name] = line
        values = [unwrap(one, self) for one in arguments]
        keywords = {one: unwrap(value, self) for one, value in named.items()}
        given: Value = Object(call_arguments((), {}))
        try:
            given = definition_value(call_arguments(values, keywords), self)
            self._check_use(task.fn, given)
        except UnsupportedValue as why:
            lost = lost or f"an argument is {why}, so the task is dropped"
        before = [*dependencies_of(wait_for)]
        if lost:  # its arguments are not carried
            before += steps_of([*values, *keywords.values()])
        step = Step(name, PYTHON, plain(given), tuple(dict.fromkeys(before)) or ABSENT)
        self.record_step(
            self.code_step(step, task.fn, lost, decorated=True), self.path.builder.inside
        )
        for one in flow_options.unsupported_options(task):
            self.report(*one, line=line, who=f"task {name}", step=name)
        if name not in self.own_tasks:
            self.own_tasks.append(name)
        if blocks:
            self.finished(name)
        value = Get("Steps", (Member(name), Member(RETURN_VALUE)))
        type_ = OBJECT if lost.startswith(_MAPPED) else return_type(task.fn)
        if type_ == OBJECT and name not in self._dropped:
            type_ = ""  # a carried task can have any result
        return Future(Symbol(value, type_, self), name, self)

    def _check_use(self, function: Any, given: Value) -> None:
        """Raise :class:`UnsupportedValue` if a task needs a parameter that no type can hold."""
        added = {one.parameter.name for one in self._run_time_parameters.values()}
        if any(get.step in self._mapped and len(get.tokens) < 3 for get in references(given)):
            raise UnsupportedValue("the list of the results of a mapped task")
        for name, type_, value in argument_types(function, given):
            unknown = isinstance(value, Get) and (value.step or value.name) in {
                *self._dropped,
                *added,
            }
            if unknown and type_ == OBJECT:
                raise UnsupportedValue(f"a run-time value, but {name!r} is not a scalar")

    def code_step(
        self, step: Step, function: Any, lost: str = "", *, decorated: bool = False
    ) -> CarriedStep:
        """The step that calls a function; a stub if that is ``lost`` or needs its module."""
        try:
            found = of_function(function, decorated=decorated)
        except NotSelfContained as why:
            lost = lost or f"it {why}, so it is dropped"
        if not lost:
            return PythonStep.of(step, found, self.here())
        code, advice, returns = "python-task", ON_ITS_OWN, return_type(function)
        if lost.startswith(_MAPPED):
            code, advice, returns = "mapped-task", "map it over a literal list", ""
        self.report(code, "dropped", lost, advice, who=f"task {step.name}", step=step.name)
        reason = f"Python task: {lost.partition(', so')[0]}"
        source = quoted_source(function_text(function))
        return self._stub(step, reason, source, "" if returns == OBJECT else returns)

    def drop(self, step: Step, why: str) -> StubStep:
        """The stub of a step whose arguments are not known, which is reported."""
        what = f"an argument is {why}, so it is dropped"
        who = f"step {step.name}"
        self.report("run-time-argument", "dropped", what, who=who, step=step.name)
        return self._stub(step, f"{step.type} step: an argument is {why}", ())

    def _stub(self, step: Step, reason: str, source: Sequence[str], returns: str = "") -> StubStep:
        self._dropped[step.name] = None
        place = f"{self.file.name}:{self.file.line()}"
        before = (*step.dependencies, *(one.step for one in step_references(step) if one.step))
        stub = replace(
            step,
            type=STUB,
            arguments=Object(stub_arguments(reason, place, source)),
            depends_on=tuple(dict.fromkeys(before)) or ABSENT,
        )
        return StubStep.of(stub, self.here(), returns)

    def here(self) -> str:
        """The current line, as the origin of a step."""
        return str(self.file.line())

    def mapped(self, task: Any, arguments: Any, named: Any, wait_for: Any) -> Any:
        """``.map()``: one step per item of a literal list."""
        calls = mapped_calls(arguments, named)
        source = mapped_output(arguments, named) if calls is None else None
        with suppress(UnsupportedValue):
            if source is not None:
                return self._for_each(task, source, arguments, named, wait_for)
        if calls is None:
            lost = f"{_MAPPED} over a run-time value"
            future = self.task(task, arguments, named, wait_for, blocks=False, lost=lost)
            return future._value
        return Futures(
            self.task(task, positional, keywords, wait_for, blocks=False)
            for positional, keywords in calls
        )

    def _for_each(
        self, task: Any, source: Any, arguments: Any, named: Any, wait_for: Any
    ) -> Symbol:
        """``.map()`` over the output of a step: a ForEach. Raises :class:`UnsupportedValue`."""
        items, before = definition_value(source, self), tuple(steps_of(wait_for))
        wanted = f"{task.name}-map"
        name = self._name(wanted, ("map", wanted), self._occurrence(("map", wanted)))
        loop = ForEachStep(
            name, items=items, max_concurrency=_MOST_ITERATIONS, depends_on=before or ABSENT
        )
        self.record_step(loop, self.path.builder.inside)
        item = Symbol(plain(current_item), "", self)
        with self.path.builder.block(name, "body"):
            positional = [with_item(one, source, item) for one in arguments]
            keywords = {key: with_item(one, source, item) for key, one in named.items()}
            # A step "NAME-2" would have the name of an iteration of a step "NAME".
            self.task(task, positional, keywords, blocks=False, wanted=f"{task.name}-item")
        self._mapped.add(name)
        return Symbol(Get("Steps", (Member(name), Member("IterationOutputs"))), OBJECT, self)

    def subflow(self, flow: Any, arguments: Any, named: Any, wait_for: Any = None) -> Any:
        what = f"subflow {shown(flow.name)}: its steps become steps of this flow"
        self.report("subflow", "info", what)
        for lost in flow_options.unsupported_options(flow):
            self.report(*lost, who=f"the flow {flow.name}")
        for step in steps_of(wait_for):
            self.finished(step)
        return flow.fn(*arguments, **named)

    # Names and losses

    def _occurrence(self, what: tuple[Any, ...]) -> tuple[Any, ...]:
        """A key for a call in one iteration of a loop, the same on each path."""
        key = (*what, self.file.stack())
        self.path.counts[key] += 1
        return (*key, self.path.counts[key])

    def _name(self, wanted: str, kind: Any, key: Any) -> str:
        return self.names.of(wanted, kind, key, self.path.builder.steps)

    def report(
        self,
        code: str,
        severity: Severity,
        what: str,
        advice: str = "",
        *,
        line: int | None = None,
        who: str = "",
        step: str = "",
    ) -> None:
        place = str(self.file.line() if line is None else line)
        text = f"{who}: {what}" if who else what
        self.losses[Loss(code, severity, place, text, TARGET, advice, step)] = None
