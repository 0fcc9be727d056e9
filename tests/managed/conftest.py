"""These tests run only on the Airflow versions of managed services; the newest has tests/e2e."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    collect_ignore_glob = [] if version("apache-airflow").startswith(("2.", "3.0.")) else ["*"]
except PackageNotFoundError:
    collect_ignore_glob = ["*"]
