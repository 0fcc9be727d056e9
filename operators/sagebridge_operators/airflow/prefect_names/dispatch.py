"""Functions of Prefect that async code awaits and other code calls, under one name."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec

_P = ParamSpec("_P")
_IS_ASYNC: ContextVar[bool | None] = ContextVar("sagebridge_is_async", default=None)


@contextmanager
def code_of(*, isasync: bool) -> Iterator[None]:
    """Calls come from a task or flow that is asynchronous, or from one that is not."""
    before = _IS_ASYNC.set(isasync)
    try:
        yield
    finally:
        _IS_ASYNC.reset(before)


def dispatched(function: Callable[_P, Any]) -> Callable[_P, Any]:
    """The function; in async code, its call is awaited (prefect's ``async_dispatch``)."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        result = function(*args, **kwargs)
        return settled(result) if _in_async_code() else result

    return call


async def settled(result: Any) -> Any:
    """A result that may have to be awaited."""
    return await result if inspect.isawaitable(result) else result


def _in_async_code() -> bool:
    known = _IS_ASYNC.get()
    if known is not None:
        return known
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
