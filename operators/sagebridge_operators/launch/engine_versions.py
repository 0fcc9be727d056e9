"""Names and installed versions of the engines, without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sagebridge.errors import MissingExtra

ENGINES = {"airflow": "Airflow", "prefect": "Prefect"}
_PACKAGES = {"airflow": "apache-airflow-core", "prefect": "prefect"}


def is_installed(engine: str) -> bool:
    """Whether the package of an engine is installed."""
    try:
        version(_PACKAGES[engine])
    except PackageNotFoundError:
        return False
    return True


def version_of(engine: str) -> str:
    """The installed version of an engine. Raises :class:`MissingExtra`."""
    try:
        return version(_PACKAGES[engine])
    except PackageNotFoundError:
        raise MissingExtra(f"running on {ENGINES[engine]}", engine) from None
