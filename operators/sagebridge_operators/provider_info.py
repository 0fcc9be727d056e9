"""The entry for sagebridge in Airflow's list of providers.

Airflow calls it through the entry point ``apache_airflow_provider`` at every start (in 3.3:
airflow/_shared/providers_discovery/providers_discovery.py), so this module imports nothing heavy.
"""

from __future__ import annotations

from importlib.metadata import version


def get_provider_info() -> dict[str, object]:
    """The provider's description, as Airflow's ``provider_info.schema.json`` defines it."""
    return {
        "package-name": "sagebridge",
        "name": "sagebridge",
        "description": "SageMaker pipelines, run by Airflow on AWS or on this machine.",
        "versions": [version("sagebridge")],
        "extra-links": [
            f"sagebridge_operators.airflow.job_links.{name}"
            for name in ("ConsoleLink", "LogLink", "OutputLink")
        ],
    }
