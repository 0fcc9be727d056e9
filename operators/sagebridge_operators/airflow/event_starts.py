"""Starts the runs of a pipeline's DAG for the messages that started a small DAG."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from sagebridge.model.event_messages import event_starts
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.values import Value
from sagebridge_operators.airflow._compat import AirflowFailException, AirflowSkipException, Context
from sagebridge_operators.airflow.dag_runs import start_dag_run
from sagebridge_operators.airflow.task_log import failure

_Received: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
_log = logging.getLogger(__name__)


def start_event_runs(
    trigger: EventTrigger,
    context: Context,
    dag_id: str,
    run_id: Callable[[str], str],
    conf: Callable[[Mapping[str, Value]], dict[str, Any]],
) -> list[str]:
    """Start one run of a DAG per event that the trigger matches, and return the ids of the runs.

    A run that exists is not started again: its id is made from the id of the message. Messages are
    deleted from their queue afterwards. Wrong values of one event do not stop the others.

    Args:
        trigger: decides which events start runs, and with which parameters.
        context: of the task; its asset events contain the messages.
        dag_id: the DAG to start.
        run_id: makes the id of a run from that of an event.
        conf: converts and checks parameters; raises AirflowFailException.

    Raises:
        AirflowFailException: values that the pipeline rejects, of all messages.
        AirflowSkipException: no event matches.
    """
    received = list(_received(context))
    started: list[str] = []
    problems: list[str] = []
    for message, _ in received:
        for start in event_starts(trigger, message):
            try:
                if start.problems:
                    raise failure("; ".join(start.problems))
                started.append(_start(dag_id, run_id(start.id), conf(start.values)))
            # The others: values that no request can contain, such as an integer of 100 digits.
            except (AirflowFailException, ValueError, TypeError, OverflowError) as wrong:
                problems.append(f"message {start.id}: {wrong}")
    _delete(received)
    if problems:
        raise failure("\n".join(problems))
    if not started:
        raise AirflowSkipException(f"no message matches the pattern of {trigger.name!r}")
    return started


def _received(context: Context) -> Iterator[_Received]:
    """Each message of the task's asset events once, with the payload that it came in."""
    seen: set[str] = set()
    for events in context["triggering_asset_events"].values():
        for event in events:
            payload = event.extra.get("payload", {})
            # The same key as in events of the Amazon provider's SqsSensorTrigger.
            for message in payload.get("message_batch", ()):
                if message["MessageId"] not in seen:
                    seen.add(message["MessageId"])
                    yield message, payload


def _start(dag_id: str, run_id: str, conf: dict[str, Any]) -> str:
    is_new = start_dag_run(dag_id, run_id, conf)
    _log.info("run %s of %s %s", run_id, dag_id, "started" if is_new else "exists already")
    return run_id


def _delete(received: Iterable[_Received]) -> None:
    """Delete messages; one that stays in its queue arrives again, and starts nothing new."""
    from sagebridge_operators.airflow.event_queue import queue_backend
    from sagebridge_operators.backends.queues import delete_message

    backends: dict[str, Any] = {}
    for message, source in received:
        if queue := source.get("queue"):
            try:
                if queue not in backends:
                    backends[queue] = queue_backend(queue, source["connection"])
                delete_message(backends[queue].client("sqs"), queue, message)
            except Exception as error:  # noqa: BLE001 - see above
                _log.warning("message %s stays in %s: %s", message["MessageId"], queue, error)
