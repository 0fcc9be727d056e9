"""These tests need the importers of Airflow 3.4, which is a beta."""

from __future__ import annotations

from importlib.util import find_spec

try:
    collect_ignore_glob = [] if find_spec("airflow.sdk.importers") else ["*"]
except ModuleNotFoundError:
    collect_ignore_glob = ["*"]
