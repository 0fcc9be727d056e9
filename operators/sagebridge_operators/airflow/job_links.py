"""The links of a task to its job, which Airflow's UI shows as buttons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from sagebridge.model.step_types import StepType
from sagebridge_operators.airflow._compat import BaseOperatorLink, XCom
from sagebridge_operators.lifecycle.links import CONSOLE, LOG, OUTPUT

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class JobLink(BaseOperatorLink):
    """A URL in an XCom of the task.

    The UI reads only the XCom (XComOperatorLink in
    airflow/serialization/definitions/operatorlink.py), so a task stores its links as soon as its
    job exists. They are there while it runs or is deferred, and after a failure.
    """

    name: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """The name that Airflow 3 gives to it (airflow/sdk/bases/operatorlink.py)."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


class ConsoleLink(JobLink):
    """The page of the job or model in the SageMaker console."""

    name = CONSOLE


class LogLink(JobLink):
    """The log streams of the job in CloudWatch."""

    name = LOG


class OutputLink(JobLink):
    """The folder of the job's output in S3."""

    name = OUTPUT


def links_of(row: StepType) -> tuple[JobLink, ...]:
    """The links of the tasks of a step type."""
    if row.console_page is None:
        return ()
    return (ConsoleLink(), LogLink(), OutputLink()) if row.makes == "job" else (ConsoleLink(),)


def store(links: Mapping[str, str], possible: Collection[BaseOperatorLink], ti: Any) -> None:
    """Stores URLs by link name in the XComs of a task instance."""
    for link in possible:
        if link.name in links:
            ti.xcom_push(key=link.xcom_key, value=links[link.name])
