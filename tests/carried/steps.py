"""The recorded steps of a translated DAG or flow, with states and results."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.user_code.kept_secrets import with_secrets
from sagebridge_operators.lifecycle.user_code.step_context import loaded
from sagebridge_operators.lifecycle.user_code.values import encode, untagged
from sagebridge_operators.run_errors import StepFailed

_STATES = {"Succeeded": "succeeded", "Failed": "failed", "Stopped": "failed", "Skipped": "skipped"}


def plain(value: Any) -> Any:
    """A result as JSON, as a translated step would record it."""
    try:
        return untagged(json.loads(json.dumps(encode("step", value))))
    except StepFailed:
        return str(value)


def records() -> ExecutionRecords:
    return ExecutionRecords(Folder(Path(os.environ["SAGEBRIDGE_RECORDS"])))


def recorded_steps(secret: Callable[[Sequence[str]], Any]) -> dict[str, Any]:
    """The state and result of each step of the newest execution, one per iteration.

    Results have references to secrets, which ``secret`` returns.
    """
    there = records()
    found: dict[str, list[Any]] = defaultdict(list)
    for execution in there.ids()[:1]:
        for one in sorted(there.current(execution), key=lambda one: (one.step, one.index)):
            state = one.end.state if one.end else "running"
            outputs = dict(one.end.outputs or {}) if one.end else {}
            entry: dict[str, Any] = {"state": _STATES.get(state, state)}
            if "return_value" in outputs:
                result = loaded(there, outputs["return_value"])
                entry["result"] = untagged(with_secrets(result, secret, {}))
            if one.end and one.end.failure:
                entry["message"] = one.end.failure.text
            found[one.step].append(entry)
    return found
