"""Airflow's entry point ``airflow.plugins``: it registers the timetable, as Airflow requires."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from sagebridge_operators.airflow.schedule_timetable import EventBridgeTimetable


class SagebridgePlugin(AirflowPlugin):
    """Makes DAGs with an EventBridgeTimetable serializable."""

    name = "sagebridge"
    timetables = [EventBridgeTimetable]  # noqa: RUF012 - an instance variable of the base class
