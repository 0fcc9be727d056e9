"""Airflow's entry point ``airflow.plugins``: it registers timetables, as Airflow requires."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from sagebridge_operators.airflow._compat import IS_AIRFLOW_2
from sagebridge_operators.airflow.schedule_timetable import EventBridgeTimetable

_TIMETABLES: list[Any] = [EventBridgeTimetable]
if IS_AIRFLOW_2:
    from sagebridge_operators.airflow.airflow2 import CronTimetable

    _TIMETABLES.append(CronTimetable)


class SagebridgePlugin(AirflowPlugin):
    """Makes DAGs with these timetables serializable."""

    name = "sagebridge"
    timetables = _TIMETABLES
