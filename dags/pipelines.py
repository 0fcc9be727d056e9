"""A live Airflow DAG of every SageMaker pipeline definition in a folder.

The folder is the one that SAGEBRIDGE_PIPELINES names, else ``pipelines`` beside this file's folder.
"""

import os
from pathlib import Path

from sagebridge_operators.airflow import load_folder

load_folder(
    os.environ.get("SAGEBRIDGE_PIPELINES", Path(__file__).parent.parent / "pipelines"),
    globals(),
)
