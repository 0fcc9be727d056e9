"""SQS queues whose messages start DAGs: one asset per queue, which the triggerer watches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2

if IS_AIRFLOW_2:
    raise ImportError("queue_asset() needs Airflow 3: Airflow 2 has no assets that are watched")
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

_MOST = 50
"""Messages in one event, which Airflow keeps in its database."""
_PAUSE = 30.0
"""Seconds until the next attempt after an outage, on average."""
_BETWEEN = 3.0
"""Seconds between two events, in which the scheduler creates a run for the first.

An event that comes before that waits for the next one (_create_dag_runs_asset_triggered in
airflow/jobs/scheduler_job_runner.py): its messages are read again, since they were not deleted.
"""


def queue_asset(
    queue: str, *, aws_conn_id: str | None = "aws_default", region_name: str | None = None
) -> Asset:
    """The asset of an SQS queue, as the schedule of a DAG that its messages start.

    All DAGs with the asset get every message, and :class:`StartPipelineOperator` deletes it.
    Airflow reads no messages while all these DAGs are paused.

    Args:
        queue: the URL of the queue.
        aws_conn_id: the Airflow connection with which the queue is read.
        region_name: the region of the queue; by default that of its URL or of the connection.
    """
    trigger = QueueTrigger(queue=queue, aws_conn_id=aws_conn_id, region_name=region_name)
    # For a scheme without x-, Airflow imports all providers with asset URIs, and boto3 with them
    # (_sanitize_uri in airflow/sdk/definitions/asset/__init__.py).
    uri = f"x-sqs://{queue.partition('://')[2]}"
    return Asset(name=queue, uri=uri, watchers=[AssetWatcher(name="sqs", trigger=trigger)])


class QueueTrigger(BaseEventTrigger):
    """Reads the messages of an SQS queue and leaves them there.

    The Amazon provider's SqsSensorTrigger deletes a message before Airflow has stored its event
    (``poke`` in airflow/providers/amazon/aws/triggers/sqs.py), needs aiobotocore, and imports boto3
    into DAG files. Here a message is deleted after the runs were started, so each event arrives at
    least once.
    """

    def __init__(
        self, *, queue: str, aws_conn_id: str | None = None, region_name: str | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue = queue
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._backend: Any = None

    @property
    def connection(self) -> dict[str, Any]:
        return {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {"queue": self.queue, **self.connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Events with ``queue``, ``connection`` and ``message_batch``, a list of messages."""
        # A call blocks while it waits for messages, so each trigger has one thread.
        thread = ThreadPoolExecutor(1, "sagebridge-queue")
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    messages = await loop.run_in_executor(thread, self._receive)
                except Exception as error:  # noqa: BLE001 - logged, and tried again
                    self.log.warning("cannot read the queue %s: %s", self.queue, error)
                    await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))
                    continue
                if messages:
                    yield TriggerEvent(  # type: ignore[no-untyped-call]
                        {
                            "queue": self.queue,
                            "connection": self.connection,
                            "message_batch": messages,
                        }
                    )
                    await asyncio.sleep(_BETWEEN)
        finally:
            thread.shutdown(wait=False)

    def _receive(self) -> list[Any]:
        from sagebridge_operators.backends.queues import receive_messages
        from sagebridge_operators.lifecycle.outages import is_expired

        if self._backend is None:
            self._backend = queue_backend(self.queue, self.connection)
        try:
            return receive_messages(self._backend.client("sqs"), self.queue, most=_MOST)
        except Exception as error:
            if is_expired(error):
                self._backend.renew()
            raise


def queue_backend(queue: str, connection: dict[str, Any]) -> Any:
    """The backend with the client of a queue."""
    # Imported here: a DAG file imports this module, and needs neither boto3 nor a connection.
    from sagebridge_operators.airflow.aws_clients import AwsConnection
    from sagebridge_operators.backends.queues import region_of

    region = connection["region_name"] or region_of(queue)
    return AwsConnection(connection["aws_conn_id"], region).backend()
