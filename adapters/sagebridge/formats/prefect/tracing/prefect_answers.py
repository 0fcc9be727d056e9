"""Replacements for Prefect's functions while a flow is traced: no task runs, no server is used.

Each replaces the function at the location from which user code imports or calls it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace
from sagebridge.formats.prefect.tracing.symbols import Symbol
from sagebridge.formats.python.import_guard import SideEffectError
from sagebridge.formats.python.import_inputs import read_input
from sagebridge.model.expressions import execution

_WAITS = "pauses or suspends the flow run"
_UNSUPPORTED_CALLS = {
    "prefect.deployments.arun_deployment": "runs a deployment",
    "prefect.deployments.run_deployment": "runs a deployment",
    "prefect.flow_runs.apause_flow_run": _WAITS,
    "prefect.flow_runs.asuspend_flow_run": _WAITS,
    "prefect.flow_runs.pause_flow_run": _WAITS,
    "prefect.flow_runs.suspend_flow_run": _WAITS,
    "prefect.pause_flow_run": _WAITS,
    "prefect.suspend_flow_run": _WAITS,
}
_RUNTIME_EXPRESSIONS = {
    ("flow_run", "flow_name"): execution.pipeline_name,
    ("flow_run", "id"): execution.pipeline_execution_id,
}
_STATES = ("Cancelled", "Completed", "Crashed", "Failed")


def replace(traced: list[FlowTrace]) -> None:
    """Patch Prefect in this process so that its calls go to the last trace in ``traced``."""
    _replace_tasks(traced)
    _replace_limits(traced)
    _replace_server(traced)
    _replace_runtime(traced)
    _replace_states()


def _replace_tasks(traced: list[FlowTrace]) -> None:
    from prefect import Flow, Task, futures

    def state(return_state: bool) -> None:
        if return_state:
            traced[-1].stop(
                "task-state",
                "return_state=True is not supported: the state is only known at run time",
            )

    def call(
        self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        state(return_state)
        return traced[-1].task(self, args, kwargs, wait_for, blocks=True)._value

    def submit(
        self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        state(return_state)
        return traced[-1].task(self, args, kwargs, wait_for, blocks=False)

    def delay(self: Any, *args: Any, **kwargs: Any) -> Any:
        traced[-1].stop(
            "task-state",
            "delay() and apply_async() are not supported: another process runs the task",
        )

    def mapped(
        self: Any,
        *args: Any,
        return_state: bool = False,
        wait_for: Any = None,
        deferred: bool = False,
        **kwargs: Any,
    ) -> Any:
        state(return_state)
        return traced[-1].mapped(self, args, kwargs, wait_for)

    def call_flow(
        self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        if not traced:
            raise SideEffectError("runs a flow")
        state(return_state)
        return traced[-1].subflow(self, args, kwargs)

    def wait(waiting: Any, timeout: Any = None) -> Any:
        for one in waiting:
            one.wait()
        return futures.DoneAndNotDoneFutures(set(waiting), set())

    # The methods of prefect/tasks.py and prefect/flows.py, replaced before user code is imported.
    for name, method in {
        "__call__": call,
        "submit": submit,
        "map": mapped,
        "delay": delay,
        "apply_async": delay,
    }.items():
        setattr(Task, name, method)
    Flow.__call__ = call_flow
    futures.wait = wait
    futures.as_completed = lambda waiting, timeout=None: iter(list(waiting))


def _replace_limits(traced: list[FlowTrace]) -> None:
    def rate_limit(names: Any, *args: Any, **kwargs: Any) -> None:
        if traced:
            traced[-1].report_change("concurrency", f"the concurrency limit {names} has no effect")

    async def async_rate_limit(names: Any, *args: Any, **kwargs: Any) -> None:
        rate_limit(names)

    @contextmanager
    def concurrency(names: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        rate_limit(names)
        yield

    @asynccontextmanager
    async def async_concurrency(names: Any, *args: Any, **kwargs: Any) -> AsyncIterator[None]:
        rate_limit(names)
        yield

    def pause(seconds: float) -> None:
        if traced:
            traced[-1].report_change("engine-option", "time.sleep() has no effect")

    _set("prefect.concurrency.sync.concurrency", concurrency)
    _set("prefect.concurrency.sync.rate_limit", rate_limit)
    _set("prefect.concurrency.asyncio.concurrency", async_concurrency)
    _set("prefect.concurrency.asyncio.rate_limit", async_rate_limit)
    setattr(time, "sleep", pause)  # noqa: B010 - of another type


def _replace_server(traced: list[FlowTrace]) -> None:
    from prefect import artifacts
    from prefect.blocks.core import Block
    from prefect.variables import Variable

    def ignored(what: str, *, waits: bool = True) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            if not traced:
                return None
            traced[-1].report_change("engine-option", what)
            return _AwaitableNone() if waits and traced[-1].file.is_asynchronous() else None

        return replacement

    def unsupported(what: str) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> None:
            if not traced:
                raise SideEffectError(what)
            traced[-1].stop("run-time-code", f"the flow {what}, which is not supported")

        return replacement

    def logger(*args: Any, **kwargs: Any) -> logging.Logger:
        return logging.getLogger("flow")

    # create_* functions and their asynchronous acreate_* forms (prefect/artifacts.py).
    for name in dir(artifacts):
        if name.removeprefix("a").startswith("create_"):
            setattr(artifacts, name, ignored("artifacts are not created"))
    for name in ("prefect.events.emit_event", "prefect.events.utilities.emit_event"):
        _set(name, ignored("events are not sent", waits=False))
    for name, what in _UNSUPPORTED_CALLS.items():
        _set(name, unsupported(what))
    # The real one (prefect/logging/loggers.py) raises MissingContextError outside a run.
    for module in ("prefect", "prefect.logging", "prefect.logging.loggers"):
        _set(f"{module}.get_run_logger", logger)
    owner: Any = Variable

    def variable(name: str, *args: Any, **kwargs: Any) -> Any:
        what = f"the Prefect variable {name!r}"
        if traced:
            return traced[-1].parameter_for(what)
        default = args[0] if args else kwargs.get("default")
        return _variable_on_import(what, name, default)

    owner.get = owner.aget = staticmethod(variable)
    change = staticmethod(ignored("Prefect variables are not set"))
    owner.set = owner.aset = owner.unset = owner.aunset = change
    block: Any = Block
    load = classmethod(
        lambda cls, name, *args, **kwargs: unsupported(f"loads the block {name!r}")()
    )
    block.load = block.aload = load


def _variable_on_import(what: str, name: str, default: Any) -> Any:
    """The default of a variable that the file reads outside its flows."""

    def value() -> Any:
        if default is None:
            raise LookupError(what)
        return default

    fix = "pass a default to Variable.get(), or call it in the flow"
    return read_input(what, name, value, fix=fix)


class _AwaitableNone:
    """None that an asynchronous flow can await, as it awaits Prefect's functions."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _replace_runtime(traced: list[FlowTrace]) -> None:
    """Attributes of ``prefect.runtime`` become parameters, except ``_RUNTIME_EXPRESSIONS``."""
    # prefect/runtime/flow_run.py and others look attributes up in their dict FIELDS.
    for part in ("deployment", "flow_run", "task_run"):
        fields = import_module(f"prefect.runtime.{part}").FIELDS
        fields.update(
            {name: _runtime_field(traced, part, name, was) for name, was in fields.items()}
        )


def _runtime_field(
    traced: list[FlowTrace], part: str, name: str, was: Callable[[], Any]
) -> Callable[[], Any]:
    def answer() -> Any:
        if not traced:
            return was()
        if (known := _RUNTIME_EXPRESSIONS.get((part, name))) is not None:
            return Symbol(known, "String", traced[-1])
        return traced[-1].parameter_for(f"prefect.runtime.{part}.{name}")

    return answer


def _replace_states() -> None:
    """Convert the message of a state to a string, in which a symbol leaves a mark."""
    from prefect import states

    def replacement(make: Callable[..., Any]) -> Callable[..., Any]:
        def state(*args: Any, message: Any = None, **kwargs: Any) -> Any:
            return make(*args, message=message if message is None else str(message), **kwargs)

        return state

    for name in _STATES:
        setattr(states, name, replacement(getattr(states, name)))


def _set(name: str, value: Any) -> None:
    module, _, attribute = name.rpartition(".")
    owner = import_module(module)
    if hasattr(owner, attribute):
        setattr(owner, attribute, value)
