"""Airflow's exceptions, for code that was written for Airflow and runs in a flow."""

from __future__ import annotations


class AirflowException(Exception):
    """As airflow.sdk.exceptions.AirflowException."""


class AirflowNotFoundException(AirflowException):
    """A connection or another object does not exist."""


class AirflowRuntimeError(AirflowException, KeyError):
    """A Variable does not exist. Older code expects a KeyError."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class AirflowFailException(AirflowException):
    """The step fails without a retry."""


class AirflowSkipException(AirflowException):
    """The step is skipped."""


class AirflowSensorTimeout(AirflowException):
    """A sensor waited too long."""


class AirflowRescheduleException(AirflowException):
    """A sensor is called again later."""


class XComNotFound(AirflowException):
    """A step has no such value."""


class AirflowTaskTimeout(BaseException):
    """A step exceeded its time limit. As in Airflow, ``except Exception`` does not catch it."""
