"""Prefect's tasks and flows, run in place: in the step whose code calls them.

A call runs the function with its retries and time limit. ``submit`` and ``map`` run calls in
threads and return futures. Results are neither cached nor stored, and hooks are not called.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

from sagebridge_operators.airflow.prefect_names.dispatch import code_of
from sagebridge_operators.airflow.prefect_names.states import (
    OF_FLOW,
    OF_TASK,
    Completed,
    State,
    raised,
)
from sagebridge_operators.airflow.prefect_names.stores import get_logger

_P = ParamSpec("_P")
_R = TypeVar("_R")
_THREADS = 32


@dataclass(frozen=True)
class unmapped(Generic[_R]):  # noqa: N801 - Prefect's name
    """An argument of ``map`` that is the same for all calls."""

    value: _R


@dataclass(frozen=True)
class allow_failure(Generic[_R]):  # noqa: N801 - Prefect's name
    """An argument whose failure does not keep a task from running."""

    value: _R


@dataclass(frozen=True)
class quote(Generic[_R]):  # noqa: N801 - Prefect's name
    """An argument in which futures are not looked for."""

    expr: _R

    def unquote(self) -> _R:
        """The argument itself."""
        return self.expr


class PrefectFuture(Generic[_R]):
    """The result of a call that may still run."""

    def __init__(self, future: Future[_R], name: str) -> None:
        self._future, self.name = future, name

    @property
    def state(self) -> State:
        """Running, Completed or Failed."""
        if not self._future.done():
            return State("Running")
        error = self._future.exception()
        if error is not None:
            return raised(error)
        return _state(self._future.result())

    def wait(self, timeout: float | None = None) -> None:
        """Waits for the end, at most ``timeout`` seconds."""
        wait_for_futures([self._future], timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The result, or the exception of the task; raises TimeoutError."""
        try:
            return _state(self._future.result(timeout)).result()
        except FutureTimeout:
            raise TimeoutError(f"task {self.name!r} has not ended after {timeout} s") from None
        except Exception as error:
            if raise_on_failure:
                raise
            return error

    def add_done_callback(self, fn: Callable[[PrefectFuture[_R]], None]) -> None:
        """Calls ``fn`` with this future at its end."""
        self._future.add_done_callback(lambda _: fn(self))


class PrefectFutureList(list[PrefectFuture[Any]]):
    """The futures of ``map``."""

    def wait(self, timeout: float | None = None) -> None:
        """Waits for all of them."""
        wait(self, timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """The results, in order."""
        return [one.result(timeout, raise_on_failure) for one in self]


def _split(futures: Iterable[Any]) -> tuple[list[Any], list[PrefectFuture[Any]]]:
    """The results and the futures in a list: a step gets results of steps in place of futures."""
    given = list(futures)
    own = [one for one in given if isinstance(one, PrefectFuture)]
    return [one for one in given if not isinstance(one, PrefectFuture)], own


class DoneAndNotDoneFutures(NamedTuple):
    """What :func:`wait` returns."""

    done: Collection[Any]
    not_done: set[PrefectFuture[Any]]


def wait(
    futures: Iterable[PrefectFuture[Any]], timeout: float | None = None
) -> DoneAndNotDoneFutures:
    """Waits for all futures, at most ``timeout`` seconds; results count as done."""
    results, own = _split(futures)
    wait_for_futures([one._future for one in own], timeout)
    done = {one for one in own if one._future.done()}
    return DoneAndNotDoneFutures([*results, *done] if results else done, set(own) - done)


def as_completed(
    futures: Iterable[PrefectFuture[Any]], timeout: float | None = None
) -> Iterator[PrefectFuture[Any]]:
    """The results, and then the futures in the order of their ends. Raises TimeoutError."""
    results, left = _split(futures)
    yield from results
    until = None if timeout is None else time.monotonic() + timeout
    while left:
        rest = None if until is None else max(0.0, until - time.monotonic())
        ended, _ = wait_for_futures([one._future for one in left], rest, "FIRST_COMPLETED")
        if not ended:
            raise TimeoutError(f"{len(left)} futures have not ended")
        for one in [one for one in left if one._future in ended]:
            left.remove(one)
            yield one


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="sagebridge-task")


def _values(given: Any) -> Any:
    """An argument with the results of the futures in it."""
    if isinstance(given, quote):
        return given.expr
    if isinstance(given, allow_failure):
        inner = given.value
        return (
            inner.result(raise_on_failure=False)
            if isinstance(inner, PrefectFuture)
            else _values(inner)
        )
    if isinstance(given, unmapped):
        return _values(given.value)
    if isinstance(given, PrefectFuture):
        return given.result()
    if isinstance(given, State):
        return given.result()
    if type(given) in (list, tuple, set, PrefectFutureList):
        kind = list if type(given) is PrefectFutureList else type(given)
        return kind(_values(one) for one in given)
    if type(given) is dict:
        return {name: _values(one) for name, one in given.items()}
    return given


@dataclass
class _Callable(Generic[_P, _R]):
    """A function with retries and a time limit."""

    fn: Callable[_P, _R]
    name: str = ""
    retries: int = 0
    retry_delay_seconds: Any = 0
    timeout_seconds: float | None = None
    retry_condition_fn: Callable[..., bool] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        called: Any = self
        functools.update_wrapper(called, self.fn)
        self.name = self.name or self.default_name(getattr(self.fn, "__name__", ""))
        self.retries = self.retries or 0

    @staticmethod
    def default_name(function: str) -> str:
        """The name of what is decorated, from that of its function."""
        return function

    def with_options(self, *, fn: Any = None, **options: Any) -> Any:
        """The same with other options, or another function."""
        own = {one: options.pop(one) for one in list(options) if one in _OPTIONS}
        given = {one: getattr(self, one) for one in _OPTIONS} | own
        return type(self)(fn or self.fn, **given, options={**self.options, **options})

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Binds a method."""
        return self if instance is None else self.with_options(fn=MethodType(self.fn, instance))

    @property
    def isasync(self) -> bool:
        """Whether a call returns a coroutine."""
        return inspect.iscoroutinefunction(self.fn)

    def _delays(self) -> Iterator[float]:
        delay = self.retry_delay_seconds
        if callable(delay):
            delay = delay(self.retries)
        if isinstance(delay, int | float):
            yield from itertools.repeat(float(delay), self.retries)
        else:
            given = [float(one) for one in delay or [0.0]]
            yield from itertools.islice(
                itertools.chain(given, itertools.repeat(given[-1])), self.retries
            )

    def _is_retried(self, error: Exception) -> bool:
        condition = self.retry_condition_fn
        said = "Task run encountered unexpected exception:"
        if condition is not None and not condition(self, None, raised(error, said)):
            return False
        get_logger(self.name).warning("%s: %s; it is tried again", type(error).__name__, error)
        return True

    def _run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        for delay in self._delays():
            try:
                return self._once(args, kwargs)
            except Exception as error:
                if not self._is_retried(error):
                    raise
            time.sleep(delay)
        return self._once(args, kwargs)

    @code_of(isasync=False)
    def _once(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.timeout_seconds is None:
            return self.fn(*args, **kwargs)
        context = contextvars.copy_context()
        future = _pool().submit(context.run, functools.partial(self.fn, *args, **kwargs))
        try:
            return future.result(self.timeout_seconds)
        except FutureTimeout:
            if future.done():
                raise
            raise TimeoutError(
                f"{self.name!r} has not ended after {self.timeout_seconds:g} s"
            ) from None

    async def _run_async(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        function: Any = self.fn

        async def once() -> Any:
            with code_of(isasync=True):
                return await asyncio.wait_for(function(*args, **kwargs), self.timeout_seconds)

        for delay in self._delays():
            try:
                return await once()
            except Exception as error:
                if not self._is_retried(error):
                    raise
            await asyncio.sleep(delay)
        return await once()

    def _called(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.isasync:
            return self._run_async(args, kwargs)
        return self._run(args, kwargs)


_OPTIONS = ("name", "retries", "retry_delay_seconds", "timeout_seconds", "retry_condition_fn")


class Task(_Callable[_P, _R]):
    """A task. A call runs it in this step."""

    def __call__(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        _values(list(wait_for or ()))
        if self.isasync:
            return _awaited(self._run_async(*_resolved(args, kwargs)), return_state)
        return _returned(lambda: self._run(*_resolved(args, kwargs)), return_state)

    def submit(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Runs the task in a thread; returns a future, or with ``return_state`` its state."""

        def run() -> Any:
            _values(list(wait_for or ()))
            given = _resolved(args, kwargs)
            return asyncio.run(self._run_async(*given)) if self.isasync else self._run(*given)

        # Not in the pool, which tasks that wait for each other could fill.
        future: Future[Any] = Future()
        context = contextvars.copy_context()
        _start(future, functools.partial(context.run, run))
        submitted: PrefectFuture[Any] = PrefectFuture(future, self.name)
        if return_state:
            submitted.wait()
            return submitted.state
        return submitted

    delay = submit

    def map(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Runs the task for the items of its arguments, in threads; returns their futures."""
        given = inspect.signature(self.fn).bind_partial(*args, **kwargs)
        lists: dict[str, list[Any]] = {}
        same: dict[str, Any] = {}
        for name, value in given.arguments.items():
            found = value.result() if isinstance(value, PrefectFuture) else value
            if isinstance(found, unmapped):
                same[name] = found.value
            elif isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
                same[name] = found
            else:
                lists[name] = list(found)
        lengths = {len(one) for one in lists.values()}
        if len(lengths) != 1:
            raise ValueError(f"map() expects lists of one length, got {sorted(lengths)}")
        futures = PrefectFutureList()
        for position in range(lengths.pop()):
            given.arguments.update({**same, **{n: one[position] for n, one in lists.items()}})
            futures.append(self.submit(*given.args, wait_for=wait_for, **given.kwargs))
        if return_state:
            futures.wait()
            return [one.state for one in futures]
        return futures


class Flow(_Callable[_P, _R]):
    """A flow. A call runs it in this step."""

    @staticmethod
    def default_name(function: str) -> str:
        """As Prefect, which only does so for flows."""
        return function.replace("_", "-")

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
        given = _resolved(args, kwargs)
        if not self.isasync:
            return _returned(lambda: _flow_result(self._run(*given)), return_state, OF_FLOW)

        async def run() -> Any:
            return _flow_result(await self._run_async(*given))

        return _awaited(run(), return_state, OF_FLOW)


def _start(future: Future[Any], run: Callable[[], Any]) -> None:
    def body() -> None:
        try:
            result = run()
        except BaseException as error:  # noqa: BLE001 - the future raises it
            future.set_exception(error)
        else:
            future.set_result(result)

    future.set_running_or_notify_cancel()
    threading.Thread(target=body, daemon=True, name="sagebridge-task").start()


def _resolved(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    return [_values(one) for one in args], {name: _values(one) for name, one in kwargs.items()}


def _returned(run: Callable[[], Any], return_state: bool, by: str = OF_TASK) -> Any:
    try:
        result = run()
    except Exception as error:
        if not return_state:
            raise
        return raised(error, by)
    return _state(result) if return_state else result


async def _awaited(called: Awaitable[Any], return_state: bool, by: str = OF_TASK) -> Any:
    try:
        result = await called
    except Exception as error:
        if not return_state:
            raise
        return raised(error, by)
    return _state(result) if return_state else result


def _state(result: Any) -> State:
    """The state that a call has returned, or one with its result."""
    return result if isinstance(result, State) else Completed(data=result)


def _flow_result(result: Any) -> Any:
    """What a flow returns: futures and states count with their results, as in Prefect."""
    if isinstance(result, State) and not result.is_completed():
        return result.result()
    return _values(result)


@overload
def task(fn: Callable[_P, _R], /) -> Task[_P, _R]: ...
@overload
def task(**options: Any) -> Callable[[Callable[_P, _R]], Task[_P, _R]]: ...
def task(fn: Any = None, /, **options: Any) -> Any:
    """Makes a function a task."""
    return _decorated(Task, fn, options)


@overload
def flow(fn: Callable[_P, _R], /) -> Flow[_P, _R]: ...
@overload
def flow(**options: Any) -> Callable[[Callable[_P, _R]], Flow[_P, _R]]: ...
def flow(fn: Any = None, /, **options: Any) -> Any:
    """Makes a function a flow."""
    return _decorated(Flow, fn, options)


def _decorated(class_: type[_Callable[Any, Any]], fn: Any, options: dict[str, Any]) -> Any:
    own = {one: options.pop(one) for one in list(options) if one in _OPTIONS}
    own = {name: value for name, value in own.items() if value is not None}
    if fn is None:
        return lambda function: class_(function, **own, options=options)
    return class_(fn, **own, options=options)


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Delays that grow by the factor 2, at most 50."""
    return lambda retries: [backoff_factor * 2**one for one in range(min(retries, 50))]


def task_input_hash(context: Any, arguments: Mapping[str, Any]) -> None:
    """No key: results are not cached."""


class ThreadPoolTaskRunner:
    """Accepted; tasks run in threads of this step."""

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = max_workers


ConcurrentTaskRunner = ProcessPoolTaskRunner = ThreadPoolTaskRunner


@contextmanager
def tags(*names: str) -> Iterator[set[str]]:
    """Accepted; Airflow has no tags of tasks."""
    yield set(names)


class CachePolicy:
    """Accepted; results are not cached. Policies can be added and subtracted."""

    def __add__(self, other: object) -> CachePolicy:
        return self

    def __sub__(self, other: object) -> CachePolicy:
        return self

    def configure(self, **options: Any) -> CachePolicy:
        """The same policy."""
        return self


DEFAULT = FLOW_PARAMETERS = INPUTS = NONE = NO_CACHE = RUN_ID = TASK_SOURCE = CachePolicy()
