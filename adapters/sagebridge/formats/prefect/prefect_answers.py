"""Replacements for Prefect's functions while a flow is traced: no task runs, no server is used.

Each replaces the function at the location from which user code imports or calls it.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

from sagebridge.formats.prefect.recording.code_steps import OF_BLOCK, RUN_LOGGER
from sagebridge.formats.prefect.recording.server_values import ServerValue
from sagebridge.formats.prefect.recording.symbols import (
    Future,
    NotFollowed,
    RunTimeValueUsed,
    Symbol,
)
from sagebridge.formats.prefect.tracing import task_maps
from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.import_guard import SideEffectError
from sagebridge.model.expressions import Get, execution
from sagebridge.model.parameters import PYTHON_TYPES
from sagebridge.model.values import ABSENT

_RUNTIME_EXPRESSIONS = {
    ("flow_run", "flow_name"): execution.pipeline_name,
    ("flow_run", "id"): execution.pipeline_execution_id,
}


class Answers:
    """The traces that answer calls: of the flows that are read, the innermost last."""

    def __init__(self) -> None:
        self.traced: list[FlowTrace] = []
        self.imported: list[tuple[Unsupported, int]] = []
        self.line: Callable[[], int] = lambda: 1

    def install(self) -> None:
        """Patch Prefect in this process."""
        _replace_tasks(self)
        _replace_limits(self)
        _replace_server(self)
        _replace_runtime(self)

    def report(self, lost: Unsupported) -> None:
        """Report a loss, in each flow if the file is imported."""
        if self.traced:
            self.traced[-1].report(*lost)
        else:
            self.imported.append((lost, self.line()))


def _replace_tasks(answers: Answers) -> None:
    from prefect import Flow, Task, futures

    traced = answers.traced

    def state(return_state: bool) -> None:
        if not traced:
            raise SideEffectError("runs a task")
        if return_state:
            raise NotFollowed(traced[-1].line(), "return_state=True", "task-state", whole=True)

    def call(
        self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        state(return_state)
        return traced[-1].task(self, args, kwargs, wait_for, blocks=True).result()

    def submit(
        self: Any, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        state(return_state)
        return traced[-1].task(self, args, kwargs, wait_for, blocks=False)

    def delay(self: Any, *args: Any, **kwargs: Any) -> Any:
        what = "delay() and apply_async(): another process runs the task"
        raise NotFollowed(traced[-1].line(), what, "task-state", whole=True)

    def mapped(
        self: Any,
        *args: Any,
        return_state: bool = False,
        wait_for: Any = None,
        deferred: bool = False,
        **kwargs: Any,
    ) -> Any:
        state(return_state)
        return task_maps.mapped(traced[-1], self, args, kwargs, wait_for)

    def call_flow(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not traced:
            raise SideEffectError("runs a flow")
        return traced[-1].subflow(self, args, kwargs)

    def wait(waiting: Any, timeout: Any = None) -> Any:
        for one in [waiting] if type(waiting) is Future else waiting:
            one.wait()
        return futures.DoneAndNotDoneFutures(waiting, [])

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
    # The losses of deployments come from the source (deployments.py).
    for name in ("serve", "deploy", "to_deployment", "adeploy", "ato_deployment"):
        if hasattr(Flow, name):
            setattr(Flow, name, lambda *args, **kwargs: _AwaitableNone())
    for name in ("serve", "aserve", "deploy"):
        for module in (
            "prefect",
            "prefect.flows",
            "prefect.deployments",
            "prefect.deployments.runner",
        ):
            _set(f"{module}.{name}", lambda *args, **kwargs: _AwaitableNone())
    futures.wait = wait
    futures.as_completed = lambda waiting, timeout=None: waiting


def _replace_limits(answers: Answers) -> None:
    traced = answers.traced

    @contextmanager
    def concurrency(names: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        if traced:
            traced[-1].report_change("concurrency", f"the concurrency limit {names} has no effect")
        yield

    @asynccontextmanager
    async def async_concurrency(names: Any, *args: Any, **kwargs: Any) -> AsyncIterator[None]:
        with concurrency(names):
            yield

    @contextmanager
    def tags(*names: str) -> Iterator[set[str]]:
        """Tags that Prefect gives to the task runs in the block."""
        found = traced[-1].tags if traced else []
        before = list(found)
        found[:] = dict.fromkeys((*found, *names))
        try:
            yield set(found)
        finally:
            found[:] = before

    @contextmanager
    def transaction(*args: Any, **kwargs: Any) -> Iterator[Any]:
        if traced:
            what = "transaction(): nothing is committed or rolled back"
            traced[-1].report("callback", "changed", what)
        yield Symbol(None, "", None)

    @asynccontextmanager
    async def async_transaction(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with transaction() as made:
            yield made

    _set("prefect.transactions.transaction", transaction)
    _set("prefect.transactions.atransaction", async_transaction)
    _set("prefect.tags", tags)
    _set("prefect.context.tags", tags)
    _set("prefect.concurrency.sync.concurrency", concurrency)
    _set("prefect.concurrency.asyncio.concurrency", async_concurrency)


def _replace_server(answers: Answers) -> None:
    from prefect.blocks.core import Block
    from prefect.variables import Variable

    def variable(name: Any, default: Any = None, *_: Any, **__: Any) -> Symbol:
        """A parameter with the name and default of the variable."""
        kind = PYTHON_TYPES.get(type(default).__name__, "")
        stated = default if kind else ABSENT
        what = f"the Prefect variable {name!r}"
        value = ServerValue(what, answers.line(), str(name), kind or "String", stated)

        def made() -> Get:
            if not answers.traced:
                raise SideEffectError("uses a value of the Prefect server")
            return answers.traced[-1].server_parameter(value)

        return Symbol(made, kind or "String")

    def block(cls: Any, name: Any, *_: Any, **__: Any) -> Symbol:
        what = f"the {cls.__name__} block {name!r} is loaded by the steps that use it"
        answers.report(Unsupported("block", "info", what))
        code = ast.parse(f"{cls.__name__}.load({name!r})", mode="eval").body
        return Symbol(None, OF_BLOCK, code)

    def logger(*args: Any, **kwargs: Any) -> logging.Logger:
        return logging.getLogger(RUN_LOGGER)

    # The real one (prefect/logging/loggers.py) raises MissingContextError outside a run.
    for module in ("prefect", "prefect.logging", "prefect.logging.loggers"):
        _set(f"{module}.get_run_logger", logger)
    owner: Any = Variable
    owner.get = owner.aget = staticmethod(variable)
    prefect_block: Any = Block
    prefect_block.load = prefect_block.aload = classmethod(block)


class _AwaitableNone:
    """None that an asynchronous flow can await, as it awaits Prefect's functions."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _replace_runtime(answers: Answers) -> None:
    """Attributes of ``prefect.runtime`` are run-time values."""
    # prefect/runtime/flow_run.py and others look attributes up in their dict FIELDS.
    for part in ("deployment", "flow_run", "task_run"):
        fields = import_module(f"prefect.runtime.{part}").FIELDS
        fields.update({name: _field(answers, part, name, was) for name, was in fields.items()})


def _field(answers: Answers, part: str, name: str, was: Callable[[], Any]) -> Callable[[], Any]:
    def answer() -> Any:
        if not answers.traced:
            return was()
        if (known := _RUNTIME_EXPRESSIONS.get((part, name))) is not None:
            return Symbol(known, "String")
        raise RunTimeValueUsed

    return answer


def _set(name: str, value: Any) -> None:
    module, _, attribute = name.rpartition(".")
    owner = import_module(module)
    if hasattr(owner, attribute):
        setattr(owner, attribute, value)
