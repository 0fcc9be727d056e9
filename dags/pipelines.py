"""One Airflow DAG for each SageMaker pipeline definition in a folder.

Set the folder with SAGEBRIDGE_PIPELINES. The default is ``pipelines`` next to the DAGs folder.
"""

import os
from pathlib import Path

from sagebridge_operators.airflow import load_folder

load_folder(
    os.environ.get("SAGEBRIDGE_PIPELINES", Path(__file__).parent.parent / "pipelines"),
    globals(),
)
