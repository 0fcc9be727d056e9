"""Calls of AWS APIs, which both engines make as steps: what the arguments of such a step contain.

``service``, ``operation`` and ``request`` are a call by the names of the API, such as ``glue`` and
``StartJobRun``. The other keys are optional:

- ``before``: calls that are made first, such as one that creates the job to start. All of them must
  be repeatable. A call has its own ``service`` if it differs.
- ``ignore``: error codes that count as success, also in calls of ``before``.
- ``result``: what the step returns, and ``fails``: a reason to fail if it is not empty. Both are
  JMESPath expressions on the answer, in which ``from_json`` reads JSON text. A ``result`` may
  also be a path, such as ``$.request.Name``.
- ``wait``: the call that is repeated until its ``status``, an expression on its answer, is one of
  ``success`` or ``failure``. If it is a list, all must be in ``success``. The code of an error is
  a status if one of the lists has it; ``pending`` lists the ones that mean nothing. ``reason``,
  ``result`` and ``fails`` are expressions on the last answer. A step without an
  operation is a sensor: it only waits.
- ``stop``: the call that stops what was started, when the step is stopped.

A string that begins with ``$.`` in the request of ``wait`` or ``stop`` is a path into the answer of
the call, in which ``request`` and ``before`` are the request and the earlier answers. In
``request`` and ``before`` it is a path into the earlier answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sagebridge.model.values import Value

PATH: Final = "$."
"""The prefix of a path into earlier answers."""
_REPEATABLE = (
    *("BatchDelete", "BatchGet", "Cancel", "Copy", "Delete", "Describe", "Disable", "Enable"),
    *("Get", "Head", "List", "Modify", "Publish", "Put", "Query", "Reboot", "Remove", "Send"),
    *("Set", "Stop", "Tag", "Terminate", "Untag", "Update"),
)
"""How operations begin that may be called again if the answer is lost.

A message may then be sent twice; nothing is started twice.
"""
_STARTS = frozenset(("SendCommand",))
"""Operations that start something although they begin so."""
ARGUMENTS = ("request", "before", "ignore", "result", "fails", "wait", "stop")
"""The keys of a call other than its service and operation."""
_WAIT = frozenset(
    (
        *("service", "operation", "request", "status", "success", "failure", "pending"),
        *("reason", "result", "fails"),
    )
)
_REQUIRED = ("operation", "request", "status", "success")


def is_repeatable(operation: str) -> bool:
    """Whether an operation may be called again if the answer is lost."""
    return operation.startswith(_REPEATABLE) and operation not in _STARTS


def aws_call_arguments(
    service: str,
    operation: str = "",
    *,
    request: Mapping[str, Value] | None = None,
    before: Sequence[Mapping[str, Value]] = (),
    ignore: Sequence[str] = (),
    result: str = "",
    fails: str = "",
    wait: Mapping[str, Value] | None = None,
    stop: Mapping[str, Value] | None = None,
) -> dict[str, Any]:
    """The arguments of an AWS call step, without empty ones. Raises TypeError."""
    if not operation and wait is None:
        raise TypeError("an AWS call needs an operation, or a wait")
    for one in before:
        if not is_repeatable(str(one.get("operation", ""))) and "ignore" not in one:
            text = "a call before an AWS call may be made twice; give it the error to ignore"
            raise TypeError(f"{one.get('operation')}: {text}")
    if wait is not None:
        if missing := [name for name in _REQUIRED if name not in wait]:
            raise TypeError(f"wait of an AWS call needs {', '.join(missing)}")
        if unknown := sorted(wait.keys() - _WAIT):
            raise TypeError(f"wait of an AWS call has no {', '.join(unknown)}")
    given: dict[str, Any] = {
        "service": service,
        "operation": operation,
        "request": request,
        "before": list(before),
        "ignore": list(ignore),
        "result": result,
        "fails": fails,
        "wait": wait,
        "stop": stop,
    }
    kept = {name: value for name, value in given.items() if value}
    return kept if not operation or request else {**kept, "request": {}}
