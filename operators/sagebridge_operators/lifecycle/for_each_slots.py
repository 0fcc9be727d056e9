"""Limits how many iterations of a ForEach run at the same time, for engines with many workers.

``<execution>/slots/<step>.json`` lists the iterations that run. It is written conditionally, so two
workers cannot take the last slot. An iteration gives its slot back by having ended: the next worker
that needs one finds that out.
"""

from __future__ import annotations

from collections.abc import Callable

from sagebridge_operators.lifecycle.objects import WriteConflict, key_part
from sagebridge_operators.lifecycle.records import ExecutionRecords


def claim(
    records: ExecutionRecords,
    execution: str,
    step: str,
    index: int,
    limit: int,
    has_ended: Callable[[list[int]], set[int]],
) -> bool:
    """Whether iteration ``index`` may run now; if so, it keeps its slot until it has ended.

    ``has_ended`` returns the given iterations without steps that run or will run.
    """
    key = f"{execution}/slots/{key_part(step)}.json"
    while True:
        stored = records.objects.read(key)
        running: list[int] = [] if stored is None else list(stored.body["running"])
        if index in running:
            return True
        if len(running) >= limit:
            ended = has_ended(running)
            running = [one for one in running if one not in ended]
        if len(running) >= limit:
            return False
        body = {"running": sorted([*running, index])}
        try:
            if stored is None:
                records.objects.create(key, body)
            else:
                records.objects.replace(key, body, stored.version)
        except WriteConflict:
            continue
        return True
