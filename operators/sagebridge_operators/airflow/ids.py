"""Names as Airflow takes them. Without Airflow, so that a client of its API knows them too."""

from __future__ import annotations

import re


def legal_id(name: str) -> str:
    """A name as a DAG or task id: letters, digits, ``_``, ``-``, ``.``, at most 250."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:250] or "_"
