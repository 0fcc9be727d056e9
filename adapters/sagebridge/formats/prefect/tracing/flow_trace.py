"""The trace of a flow: its steps, their names and order, and what is lost."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

from sagebridge.authoring.file_arguments import in_definition_order, step_order
from sagebridge.authoring.flow_signature import (
    read_signature,
)
from sagebridge.authoring.pipeline_builder import CURRENT
from sagebridge.formats.prefect import flow_options
from sagebridge.formats.prefect.recording import code_steps, pipeline_subflow
from sagebridge.formats.prefect.recording.carried_limits import lost_limits
from sagebridge.formats.prefect.recording.code_recorder import CodeRecorder, dependencies_of
from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.flow_arguments import argument_value, arguments_of
from sagebridge.formats.prefect.recording.option_lines import option_lines
from sagebridge.formats.prefect.recording.step_recorder import TARGET
from sagebridge.formats.prefect.recording.step_tree import with_dependencies
from sagebridge.formats.prefect.recording.symbols import (
    NotFollowed,
    UnsupportedValue,
    is_symbol,
    leaves,
    result_step,
)
from sagebridge.formats.prefect.recording.traced_builder import TracedBuilder
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.prefect.tracing.branches import Returned
from sagebridge.formats.prefect.tracing.interpreter import Interpreter
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.code_steps import (
    PYTHON,
    CarriedStep,
    call_arguments,
)
from sagebridge.model.display import free_name, shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Parallelism, Pipeline, Step, walk
from sagebridge.model.values import Object


class FlowTrace(CodeRecorder):
    """The trace of one flow."""

    def __init__(
        self, flow: Any, file: UserFile, imported: Sequence[tuple[Unsupported, int]]
    ) -> None:
        super().__init__(flow.name, file, flow.fn.__code__.co_firstlineno)
        self.flow = flow
        self.signature = list(read_signature(flow.fn))
        self.arguments = arguments_of(self.signature)
        description = flow_options.description(flow)
        self.builder = TracedBuilder(self, flow.name, self.arguments, description)
        self.interpreter = Interpreter(self)
        self.in_step = False
        self.return_line = 0
        lines = option_lines(file, flow, self._first_line)
        for lost in flow_options.unsupported_options(flow):
            self.report(*lost, line=lines.of_text(lost.code, lost.what), who="the flow")
        for one in self.signature:
            line = file.argument_line(flow.fn, one.name)
            for part in one.losses:
                self.report(*part, line=line, who="the flow")
        for unsupported, line in imported:
            self.report(*unsupported, line=line)

    @property
    def _first_line(self) -> int:
        return int(self.flow.fn.__code__.co_firstlineno)

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        """The pipeline, and what is lost. Raises :class:`FlowError`."""
        given = {one.name: argument_value(self, one) for one in self.signature}
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
        pipeline = self._pipeline()
        known = {one.what for one in self.state.losses}
        for lost in lost_limits(walk(pipeline), self.file.tree, TARGET):
            if lost.what not in known:
                self.state.losses[lost] = None
        return pipeline, tuple(self.located_losses())

    def _whole(self, why: NotFollowed, given: Mapping[str, Any], positional: Sequence[Any]) -> None:
        """The flow as one step, which calls its tasks itself."""
        frame = self.interpreter.frame_of(self.flow.fn, positional, given)
        wanted = frame.definition.name
        try:
            code = code_steps.of_statements(frame.definition.body, (), self.file, frame, wanted)
        except UnsupportedValue as error:
            what = f"{why.what}; it uses {error}"
            name = self.name(wanted)
            step = Step(name, PYTHON, Object(call_arguments((), {})))
            self.record_step(self._lost(step, self.flow.fn, what, f"flow {name}"), why.line)
            return
        name = self.code(code, wanted, self._first_line, own=True)
        what = f"{why.what}: the flow is one step, which calls its tasks itself"
        self.report(why.code, "changed", what, line=why.line, step=name)
        self.interpreter.lost_of_tasks(frame.definition.body, frame, why.line, name)

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

    def _end(self, returned: Any) -> None:
        self.report_unread(filter(None, map(result_step, leaves(returned))))
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

    def subflow(self, flow: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """A call of a flow: its steps are a group."""
        of_pipeline = pipeline_subflow.is_pipeline_flow(flow)
        if not of_pipeline and self.file.definition(flow.fn) is None:
            raise NotFollowed(self.line(), f"the subflow {flow.name!r} is in another file")
        what = f"subflow {shown(flow.name)}: its steps become steps of this flow"
        self.report("subflow", "info", what)
        self.lost_of_subflow(flow)
        named = dict(named)
        for step in dependencies_of(named.pop("wait_for", None)):
            self.state.ended[step if isinstance(step, str) else step.step] = None
        if named.pop("return_state", False):
            raise NotFollowed(self.line(), "return_state=True", "task-state", whole=True)
        name = free_name(flow.name, self.state.names, flow.name, "-")
        self.state.names.add(name)
        self.groups.append(name)
        try:
            if of_pipeline:
                return pipeline_subflow.add_pipeline(self, flow, arguments, named)
            return self.interpreter.call_function(flow.fn, arguments, named)
        finally:
            self.groups.pop()

    def lost_of_subflow(self, flow: Any, *, in_code: bool = False) -> None:
        """Report what a flow has that the flow that calls it cannot have for it, once."""
        lines = option_lines(self.file, flow, self.line())
        for lost in flow_options.lost_of_subflow(flow, in_code=in_code):
            line = lines.of_text(lost.code, lost.what)
            self.report(*lost, line=line, who=f"subflow {shown(flow.name)}")
