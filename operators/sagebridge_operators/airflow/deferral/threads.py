"""The threads in which a triggerer calls AWS and Airflow.

All calls run here, so that none delays the other triggers in the process. In the threads of asyncio
they would: other triggers and ``getaddrinfo`` wait for those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 32
_T = TypeVar("_T")
_POOL = ThreadPoolExecutor(THREADS, "sagebridge-deferral")


async def in_thread(call: Callable[[], _T]) -> _T:
    """The result of a function, which runs in one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, call)
