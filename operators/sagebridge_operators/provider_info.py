"""What Airflow lists of us among its providers; it reads this at every start."""

from __future__ import annotations

from importlib.metadata import version


def get_provider_info() -> dict[str, object]:
    """The provider's description, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "sagebridge",
        "name": "sagebridge",
        "description": "SageMaker pipelines, run by Airflow on AWS or on this machine.",
        "versions": [version("sagebridge")],
    }
