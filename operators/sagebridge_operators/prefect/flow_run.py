"""A flow run of sagebridge steps. Each step is submitted once its dependencies have ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from prefect import tags
from prefect.context import FlowRunContext, TagsContext
from prefect.exceptions import Abort, Pause
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State
from prefect.utilities.annotations import allow_failure

from sagebridge.authoring.flow_signature import read_signature
from sagebridge.authoring.pipeline_builder import CURRENT, PipelineBuilder, StepHandle
from sagebridge.authoring.step_arguments import RETRIES, RETRY_DELAY
from sagebridge.errors import SagebridgeError, UsageError
from sagebridge.model.expressions import Get, properties_of, references
from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.values import Value
from sagebridge_operators.backends import default_name, why_not_on
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.ending import INTERRUPTED, PATIENCE, Ending
from sagebridge_operators.lifecycle.iterations import step_rows
from sagebridge_operators.lifecycle.opening import valid_definition
from sagebridge_operators.lifecycle.outputs import path_text, references_to
from sagebridge_operators.lifecycle.records import by_step
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_states import Status, final_status, states
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.lifecycle.user_code.step_context import with_loaded
from sagebridge_operators.lifecycle.user_code.values import escaped
from sagebridge_operators.prefect import (
    artifacts,
    final_state,
    for_each_values,
    step_tasks,
    step_values,
)
from sagebridge_operators.prefect.engine_run import (
    by_priority,
    engine_run,
    has_slot,
    retry_delay,
    startable_early,
    tags_of,
)
from sagebridge_operators.prefect.final_state import is_handed_over
from sagebridge_operators.prefect.flow_backends import settings_for_record
from sagebridge_operators.prefect.flow_checks import check_names, given_values, parallel_limit
from sagebridge_operators.prefect.for_each_run import ForEachRun
from sagebridge_operators.prefect.opened_execution import (
    OpenedExecution,
    open_flow_run,
    properties_of_ended,
    upstream_steps,
    with_late_properties,
)
from sagebridge_operators.prefect.run_logs import hide_expected_tracebacks
from sagebridge_operators.prefect.step_hooks import StepHooks, call_flow_hooks, error_of
from sagebridge_operators.prefect.step_keys import StepKey, Upstream
from sagebridge_operators.run_errors import ExecutionFailed, FinalState

hide_expected_tracebacks()


class _BodyRun(NamedTuple):
    """One run of a flow's body; Prefect creates a context for each. ``outer`` called it."""

    context: Any
    flow: FlowRun
    outer: _BodyRun | None


_BODY_RUN: ContextVar[_BodyRun | None] = ContextVar("sagebridge_flow_run", default=None)


def current() -> PipelineBuilder:
    """The builder of the calling flow: traced or running. Raises UsageError outside a flow."""
    if (traced := CURRENT.get()) is not None:
        return traced
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise UsageError(
            "steps must be declared inside a flow, a function with Prefect's @flow decorator"
        )
    found = _body_run(context)
    if found is None:
        found = _BodyRun(context, FlowRun(context), _BODY_RUN.get())
        _BODY_RUN.set(found)
    return found.flow


def _body_run(context: Any) -> _BodyRun | None:
    """The run of a flow's body. Later subflows, which have ended, may hide it."""
    found = _BODY_RUN.get()
    while found is not None and found.context is not context:
        found = found.outer
    return found


def _value_of(expression: Value) -> Any:
    """The value of an expression in the running flow. Raises UsageError."""
    attempt = _body_run(FlowRunContext.get()) or _BODY_RUN.get()
    if attempt is None:
        raise UsageError("an expression has a value only in a flow with steps, after finish()")
    return attempt.flow.value_of(expression)


step_values.resolve_expressions(_value_of)


class FlowRun(PipelineBuilder):
    """The steps of one flow run. They run in ``finish``, when all of them are declared.

    Only the flow's thread submits and settles steps; the task runner's threads run them.
    """

    step_handle = step_values.FlowStep
    condition_handle = step_values.FlowCondition
    for_each_handle = step_values.FlowForEach

    def __init__(self, context: Any) -> None:
        flow = context.flow
        signature = list(read_signature(flow.fn))
        super().__init__(flow.name, [one.parameter for one in signature if one.parameter])
        self._with_validators = frozenset(one.name for one in signature if one.type.has_validators)
        self.log = get_run_logger(context)
        self._given = given_values(context)
        self._run_info = context.flow_run
        self._pipeline = Pipeline(steps=())
        self._attempts: dict[StepKey, Attempt] = {}
        self._loops: dict[str, ForEachRun] = {}
        self._futures: dict[StepKey, Any] = {}
        self._tags: dict[str, set[str]] = {}
        self._active: dict[StepKey, StepDriver | ForEachRun] = {}
        self._waiting: set[StepKey] = set()
        self._finished = False
        self._thread = threading.get_ident()
        self._misuse: UsageError | None = None
        self._found: dict[StepKey, Mapping[str, Any]] = {}
        self._ended: SimpleQueue[StepKey] = SimpleQueue()
        self._signal: Pause | Abort | None = None
        self._scene: OpenedExecution | None = None
        final_state.require_finish(flow, context.flow_run.id)

    def add(self, step: Step) -> StepHandle:
        # The task is submitted later, outside the `with tags(…)` block around this call.
        self._tags[step.name] = {*TagsContext.get().current_tags, *tags_of(step.engine)}
        return super().add(step)

    def step(self, type_: str, name: str, **given: Any) -> StepHandle:
        return super().step(type_, name, **step_values.with_results(given))

    def python(self, name: str, function: Any, **given: Any) -> StepHandle:
        return super().python(name, function, **step_values.with_results(given))

    def shell(self, name: str, command: Value, **given: Any) -> StepHandle:
        return super().shell(name, **step_values.with_results({"command": command, **given}))

    def aws_call(self, name: str, service: str, operation: str = "", **given: Any) -> StepHandle:
        return super().aws_call(name, service, operation, **step_values.with_results(given))

    def outputs(self) -> dict[str, Any]:
        """The outputs of each step that succeeded, by its name."""
        found = {one.name: self._outputs_of(one.name) for one in walk(self._pipeline)}
        return {name: one for name, one in found.items() if one is not None}

    def finish(self) -> dict[str, Any] | State:
        """Runs the remaining steps; returns the result or failed state of the flow."""
        try:
            self._raise_misuse()
            self._run()
            self._raise_misuse()
        except SagebridgeError as refused:
            self.log.error(str(refused))  # noqa: TRY400 - a user error needs no traceback
            return self._return(Failed(message=str(refused), data=refused))
        finally:
            self._finished = True
        return self._return(self._end())

    def decide(self, condition: str) -> bool:
        """Runs the steps declared so far until the condition has a result; returns it."""
        return bool(self._run_until(condition, f"condition {condition!r}")["outcome"])

    def _run_until(self, name: str, what: str) -> dict[str, Any]:
        """Runs the steps declared so far until one has ended; returns its outputs.

        Raises UsageError in the body of a ForEach, and ExecutionFailed if there are no outputs.
        """
        for (step, field), names in self.inner.items():
            if field == "body" and any(names is one for one in self._open):
                problem = f"the flow would wait in the body of {step!r}, which is not complete"
                raise self._misused(f"{what}: {problem}; decide it before")
        self._run(until=name)
        outputs = self._outputs_of(name)
        if outputs is None:
            self._run()
            self._end()
            raise ExecutionFailed(self._status().reason or f"{what} has no result")
        return outputs

    def properties(self, step: str) -> Any:
        """The outputs of a step: references, from which later steps follow; after finish() values.

        A reference has its value as soon as its step has ended, as an argument of a task.
        """
        reference = step_values.step_reference(self, properties_of(step)._tokens)
        if not self._finished:
            return reference
        return step_values.value_at(self.properties_found(reference._get), reference._tokens)

    def ended_future(self, reference: Get) -> Any:
        """The future of the task run of a step. Raises UsageError if it has not ended.

        The thread of the flow runs the steps declared so far, until it has ended.
        """
        key = StepKey(reference.name)
        loop = body_owners(self.pipeline()).get(reference.name)
        can_wait = not self._finished and threading.get_ident() == self._thread and loop is None
        if can_wait and key.step in self.steps and not self._has_ended(key):
            self._run_until(key.step, f"step {key.step!r}")
        if key not in self._futures or key in self._waiting:
            why = (
                "it has no value yet, as the step has not ended; call wait() of the step first, or "
                "use it after finish()"
            )
            if loop is not None:
                output = f"Steps.{loop}.IterationOutputs[0].{reference.name}"
                why = f"it has a value for each item of {loop!r}, such as {output}"
            elif self._finished:
                why = "it has no value, as the step did not run"
            raise self._misused(step_values.missing_value(reference, why))
        return self._futures[key]

    def value_of(self, value: Value) -> Any:
        """The value of an expression. Raises UsageError before its steps have ended."""
        found: dict[str, dict[str, Any]] = {}
        for one in references(value):
            if one.step is not None:
                self.ended_future(one)
                properties = found.setdefault(one.step, {})
                if one.property_file is None:
                    place = self.properties_found(one)
                    properties[path_text(one)] = escaped(step_values.value_at(place, one.tokens))
        scene = self._scene
        if scene is None:
            what = type(value).__name__ if not isinstance(value, Get) else value.text
            raise self._misused(f"{what} has no value before finish(); only steps can use it")
        backend = scene.backend(self._settings(None))

        def upstream(name: str) -> dict[str, Any]:
            return {**(self._outputs_of(name) or {}), "properties": found.get(name, {})}

        return Resolver(scene.execution, upstream, backend.read_object, backend.arn)(value)

    def _misused(self, text: str) -> UsageError:
        self._misuse = UsageError(text)
        return self._misuse

    def properties_found(self, reference: Get) -> Mapping[str, Any]:
        """All properties of the step of a reference, as JSON.

        Raises UsageError if the step has not ended, or ended without success.
        """
        name = reference.name
        self.ended_future(reference)
        if self._outputs_of(name) is None:
            reached = states(self._pipeline, self._by_step())[name]
            attempt = self._attempts.get(StepKey(name))
            reason = f": {attempt.reason}" if attempt is not None and attempt.reason else ""
            why = f"it has no value, as the step is {reached}{reason}"
            raise UsageError(step_values.missing_value(reference, why))
        return self._properties_of(StepKey(name))

    def _properties_of(self, key: StepKey) -> Mapping[str, Any]:
        """All properties of a step that has outputs, as JSON."""
        if key not in self._found:
            step, attempt = self._pipeline.step(key.step), self._attempts[key]
            assert step is not None
            assert self._scene is not None
            if isinstance(step, ForEachStep):
                done = {one for one, found in self._attempts.items() if found.outputs is not None}
                found = for_each_values.properties(step, attempt, done, self._properties_of)
            else:
                backend = self._scene.backend(self._settings(key.step))
                outputs = self._outputs_of(key.step, key.index) or {}
                found = properties_of_ended(step, outputs, backend)
            self._found[key] = found
        return self._found[key]

    def _raise_misuse(self) -> None:
        """Raises the error of a task that got a property too early.

        Prefect does not fail the flow run for it if the task was submitted.
        """
        if self._misuse is not None:
            raise self._misuse

    def _return(self, result: dict[str, Any] | State) -> dict[str, Any] | State:
        final_state.set_state(self._run_info.id, result if isinstance(result, State) else None)
        return result

    def _why_not_here(self, step: Step, pipeline: Pipeline) -> list[tuple[str, str]]:
        """The reasons why this machine cannot run a step, if it is the backend of the step."""
        backend = self._settings(step.name).get("backend") or default_name()
        return why_not_on(backend, step, pipeline)

    def _run(self, until: str | None = None) -> None:
        """Submits steps and waits until the step ``until``, or every step, has ended."""
        self._pipeline = self.pipeline()
        check_names(self.name, self._pipeline, self.settings)
        before = upstream_steps(self.name, self._pipeline)
        for name in body_owners(self._pipeline):
            del before[name]
        valid_definition(self._pipeline, self._why_not_here)
        self._scene = self._scene or self._opened()
        self._scene.describe(self._pipeline)
        most = parallel_limit(self._pipeline)
        try:
            while True:
                for key, state, upstream in by_priority(self._ready(before), self._pipeline):
                    if state != "Pending" or (
                        len(self._active) < most and has_slot(key, self._pipeline, self._active)
                    ):
                        self._submit(key, state, upstream)
                if self._signal is not None and not self._active:
                    raise self._signal
                if not self._waiting or (until is not None and self._has_ended(StepKey(until))):
                    return
                self._settle(self._next_ended())
        except (Pause, Abort):  # no job runs any more, and a resumed flow run continues from here
            raise
        except BaseException as error:
            if not is_handed_over(error):
                self._stop(error)
            raise

    def _next_ended(self) -> StepKey:
        """Waits for the next step that ends.

        In slices: outside the main thread, Prefect's time limit interrupts no blocking call
        (WatcherThreadCancelScope in prefect/_internal/concurrency/cancellation.py).
        """
        while True:
            with suppress(Empty):
                return self._ended.get(timeout=1.0)

    def _ready(
        self, before: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[StepKey, str, Upstream]]:
        """What can be submitted now: its state, and its upstream steps with theirs."""
        if self._signal is not None:
            return
        reached = states(self._pipeline, self._by_step())
        early = startable_early(self._pipeline, self._by_step())
        for name, upstream in before.items():
            key = StepKey(name)
            found: dict[StepKey, str] = {StepKey(one): reached[one] for one in upstream}
            ended = name in early or all(map(self._has_ended, found))
            if key in self._futures or not ended:
                continue
            if (loop := self._loop(key, reached[name])) is not None:
                yield from loop.ready(self._attempts, self._futures.__contains__, self._has_ended)
                if not all(map(self._has_ended, loop.all_keys())):
                    continue
                found |= loop.all_states(self._attempts)
            yield key, reached[name], found

    def _loop(self, key: StepKey, state: str) -> ForEachRun | None:
        """The iterations of a ForEach, which begins now if it has not; None for other steps."""
        step, scene = self._pipeline.step(key.step), self._scene
        assert scene is not None
        if not isinstance(step, ForEachStep) or state != "Pending" or scene.ended(key, 0):
            return None
        if key.step not in self._loops:
            self._loops[key.step] = loop = ForEachRun(self._step_task(key), self.log)
            loop.start()
        return self._loops[key.step]

    def _by_step(self) -> dict[str, Attempt]:
        return by_step(self._attempts.values())

    def _has_ended(self, key: StepKey) -> bool:
        return key in self._futures and key not in self._waiting

    def _submit(self, key: StepKey, state: str, upstream: Upstream) -> None:
        """Submits a task run: a Pending step runs, any other one ends in ``state``."""
        scene, settings = self._scene, self._settings(key.step)
        assert scene is not None
        if (before := scene.ended(key, settings.get(RETRIES, 0))) is not None:
            self._attempts |= scene.with_iterations(before, self._pipeline)
            task = step_tasks.ended_task(key, partial(step_tasks.state_of, before))
        elif state == "Pending":
            loop = None if key.index else self._loops.get(key.step)
            self._active[key] = driver = loop or StepDriver(self._step_task(key))
            hooks = StepHooks(self.hooks.get(key.step, ()), driver, self.log)
            delay = retry_delay(driver.task.step.engine, settings.get(RETRY_DELAY))
            task = step_tasks.step_task(key, driver, delay, hooks)
        else:
            because = ", ".join(f"{one.name} is {found}" for one, found in upstream.items())
            ended = Completed if state == "Skipped" else Cancelled
            task = step_tasks.ended_task(key, partial(ended, name=state, message=because))
        self._waiting.add(key)
        with tags(*self._tags[key.step]):
            future = self._futures[key] = task.submit(wait_for=self._followed(upstream))
        future.add_done_callback(partial(self._on_end, key))

    def _followed(self, upstream: Upstream) -> list[Any]:
        """The upstream task runs that a task run follows, whatever their states are.

        allow_failure covers Failed states, not Cancelled ones, so a NotRun step is left out
        (resolve_to_final_result in prefect/utilities/engine/__init__.py).
        """
        followed = filter(self._has_ended, upstream)
        return [allow_failure(self._futures[one]) for one in followed if upstream[one] != "NotRun"]

    def _on_end(self, key: StepKey, future: Any) -> None:
        try:
            future.wait()  # sets the final state; otherwise future.state asks the API
        except (Pause, Abort) as signal:  # the flow run was suspended, or deleted on the server
            self._signal = signal
        finally:
            self._ended.put(key)

    def _settle(self, key: StepKey) -> None:
        self._waiting.discard(key)
        driver = self._active.pop(key, None)
        if driver is None:
            return
        running = driver.attempt is None or driver.attempt.running
        if running and self._signal is None:
            driver.give_up(error_of(self._futures[key].state))
        if driver.attempt is not None:
            self._attempts[key] = driver.attempt

    def _step_task(self, key: StepKey) -> StepTask:
        name = key.step
        scene, step = self._scene, self._pipeline.step(name)
        assert scene is not None
        assert step is not None
        backend = scene.backend(self._settings(name))
        return StepTask(
            step=step,
            execution=scene.execution,
            backend=backend,
            records=scene.records,
            upstream=partial(self._outputs, index=key.index),
            function=self.functions.get(name),
            references=references_to(name, self._pipeline.steps),
            pipeline=self._pipeline,
            on_request=partial(artifacts.show_condition, step),
            engine_try=scene.engine_try(self._run_info.run_count),
            generation=scene.generation(key),
            index=key.index,
            settings=settings_for_record(self._settings(name)),
            role=self._settings(name).get("role_arn"),
            engine_run=engine_run(self._run_info),
            user_retries=self._settings(name).get(RETRIES, 0),
            time_limit=step.engine.timeout or None,
            on_job=partial(
                artifacts.link_folder, key.name, step.type, getattr(backend, "home", None)
            ),
            on_links=partial(artifacts.link_pages, key.name),
        )

    def _outputs_of(self, name: str, index: tuple[int, ...] = ()) -> dict[str, Any] | None:
        """The outputs of a step; of a step in the same body those of the same iteration."""
        attempt = self._attempts.get(StepKey(name, index)) or self._attempts.get(StepKey(name))
        if attempt is None or attempt.outputs is None or self._scene is None:
            return None
        return dict(with_loaded(self._scene.records, attempt.outputs) or {})

    def _outputs(self, name: str, index: tuple[int, ...] = ()) -> dict[str, Any] | None:
        outputs = self._outputs_of(name, index)
        step = self._pipeline.step(name)
        if outputs is None or step is None or self._scene is None:
            return outputs
        references = references_to(name, self._pipeline.steps)
        if isinstance(step, ForEachStep):
            return for_each_values.with_late_properties(
                outputs, references, lambda: self._properties_of(StepKey(name))
            )
        return with_late_properties(
            step, outputs, references, self._scene.backend(self._settings(name))
        )

    def _settings(self, name: str | None) -> dict[str, Any]:
        merged = {**self.settings.get(None, {}), **self.settings.get(name, {})}
        return {one: value for one, value in merged.items() if value is not None}

    def _opened(self) -> OpenedExecution:
        """Opens the execution. Raises ParameterError before any step starts."""
        info, free = self._run_info, self._with_validators
        more = (self.parameters, self._given, free, self._settings)
        return open_flow_run(info, self.name, self._pipeline, *more)

    def _status(self) -> Status:
        scene = self._scene
        asked = scene is not None and scene.records.stop_requested(scene.execution.id)
        return final_status(self._pipeline, self._by_step(), stop_requested=asked)

    def _ending(self, scene: OpenedExecution) -> Ending:
        return Ending(
            scene.records,
            scene.execution.id,
            lambda attempt: scene.backend(self._settings(attempt.step)),
        )

    def _end(self) -> dict[str, Any] | State:
        scene = self._scene
        assert scene is not None
        found = self._ending(scene).conclude(self._pipeline)
        rows = step_rows(self._pipeline, self._attempts.values())
        artifacts.summarize(self._pipeline.name or "pipeline", found, rows, scene.read)
        call_flow_hooks(self.hooks, found, self._attempts, self._step_task, self.log)
        return final_state.result_of(found, scene.execution.id, rows)

    def _stop(self, error: BaseException) -> None:
        """Stops the running steps after an interruption or error, waits, and records the end."""
        scene = self._scene
        if scene is None:
            return
        for run in self._active.values():
            run.killed = True
        with suppress(Exception):  # the records may be the cause of the error
            scene.records.request_stop(scene.execution.id)
        until = time.monotonic() + PATIENCE
        # A driver whose attempt has ended waits for a retry of its task, and has no job.
        while any(not one.attempt or one.attempt.running for one in self._active.values()):
            if (left := until - time.monotonic()) <= 0:
                break
            with suppress(Empty):
                self._settle(self._ended.get(timeout=left))
        for loop in self._loops.values():
            loop.abandon()
        end: FinalState = "Stopped"
        reason = INTERRUPTED
        if isinstance(error, Exception):
            end, reason = "Failed", f"{type(error).__name__}: {error}"
        with suppress(Exception):
            self._ending(scene).record_interruption(end, reason)
