"""The engines that can be started here, known without importing anything of theirs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sagebridge.errors import MissingExtra

ENGINES = {"airflow": "Airflow", "prefect": "Prefect"}
_PACKAGES = {"airflow": "apache-airflow-core", "prefect": "prefect"}


def version_of(engine: str) -> str:
    """The version of an engine that is installed. Raises :class:`MissingExtra`."""
    try:
        return version(_PACKAGES[engine])
    except PackageNotFoundError:
        raise MissingExtra(f"running on {ENGINES[engine]}", engine) from None
