"""Script mode: how SageMaker's framework images run a user's training script.

Follows the contract of sagemaker-training 5.1: SM_* variables, and hyperparameters as ``--name
value``. The package itself is not used, because it waits 15 minutes for a host named algo-1 and
writes to /opt/ml.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.data_transfer import fetch_package
from sagebridge_operators.backends.local.resource_config import HOST, INTERFACE
from sagebridge_operators.backends.local.supervised_job import Job

CODE = "/opt/ml/code"


def decode(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Hyperparameters as the toolkit decodes them: JSON if valid, otherwise a string."""
    decoded: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            decoded[name] = json.loads(text)
        except ValueError:
            decoded[name] = text
    return decoded


def own(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters for the script, without those for the toolkit."""
    return {
        name: value
        for name, value in sorted(hyperparameters.items())
        if not name.startswith("sagemaker_") and name != "_tuning_objective_metric"
    }


def fetch_code(job: Job, source: str) -> str:
    """The folder under /opt/ml with the code of ``source``.

    Args:
        job: the job.
        source: a folder under /opt/ml, a tar.gz, or a folder of this machine.

    Raises:
        JobFailed: the source does not exist or cannot be unpacked.
    """
    # The SDK's local mode writes "file://" and a path, unquoted and perhaps relative
    # (sagemaker/estimator.py, _prepare_for_training; sagemaker/model.py).
    path = re.sub(r"^file://(localhost(?=/))?", "", source)
    if path.startswith("/opt/ml/"):
        return path.rstrip("/")
    uri = path if not path.startswith("/") or Path(path).exists() else source
    fetch_package(job, uri, job.host_path(CODE), "source (sagemaker_submit_directory)")
    return CODE


def with_requirements(job: Job, code: str, command: Sequence[str]) -> list[str]:
    """The command, after the installation of the requirements.txt in the folder ``code``."""
    if not (job.host_path(code) / "requirements.txt").is_file():
        return list(command)
    install = 'pip install -r "$0/requirements.txt" && exec "$@"'
    return ["/bin/sh", "-c", install, code, *command]


def installing(job: Job, requirements: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command, after the installation of packages that SageMaker's images have."""
    job.host_path(f"{CODE}/requirements.txt").write_text("\n".join(requirements) + "\n")
    return with_requirements(job, CODE, command)


def command(job: Job, code: str, program: str, hyperparameters: Mapping[str, Any]) -> list[str]:
    """The command line of a script in ``code``, with its hyperparameters as arguments.

    As in SageMaker's images, only a Python script gets its requirements.txt; any other program runs
    with the interpreter in its first line (sagemaker_training/entry_point.py).
    """
    words = arguments(hyperparameters)
    if program.endswith(".py"):
        return with_requirements(job, code, ["python", program, *words])
    return ["/bin/sh", "-c", 'chmod u+x "$0" && exec "./$0" "$@"', program, *words]


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """``--name value``, or ``-n value`` for one letter; a mapping becomes ``k=v,k=v``."""
    words: list[str] = []
    for name, value in own(hyperparameters).items():
        words.append(f"--{name}" if len(name) > 1 else f"-{name}")
        if isinstance(value, dict):
            words.append(",".join(f"{key}={item}" for key, item in sorted(value.items())))
        else:
            words.append(str(value))
    return words


def environment(
    hyperparameters: Mapping[str, Any],
    channels: Mapping[str, Mapping[str, Any]],
    resources: Mapping[str, Any],
) -> dict[str, str]:
    """The SM_* variables of a training job; ``channels`` is the content of inputdataconfig.json."""
    mine = own(hyperparameters)
    framework = {name: value for name, value in hyperparameters.items() if name not in mine}
    program = str(framework.get("sagemaker_program", ""))
    kind = resources["current_instance_type"]
    groups = resources["instance_groups"]
    values: dict[str, Any] = {
        "channels": sorted(channels),
        "current_host": HOST,
        "current_instance_group": resources["current_group_name"],
        "current_instance_group_hosts": [HOST],
        "current_instance_type": kind,
        "distribution_instance_groups": [],
        "framework_module": "",
        "framework_params": framework,
        "hosts": [HOST],
        "hps": mine,
        "input_config_dir": "/opt/ml/input/config",
        "input_data_config": channels,
        "input_dir": "/opt/ml/input",
        "instance_groups": [group["instance_group_name"] for group in groups],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "is_hetero": False,
        "is_master": True,
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "log_level": framework.get("sagemaker_container_log_level", 20),
        "master": HOST,
        "model_dir": "/opt/ml/model",
        "module_dir": framework.get("sagemaker_submit_directory", ""),
        "module_name": Path(program).stem,
        "network_interface_name": INTERFACE,
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "num_neurons": 0,
        "output_data_dir": "/opt/ml/output/data",
        "output_dir": "/opt/ml/output",
        "output_intermediate_dir": "/opt/ml/output/intermediate",
        "resource_config": resources,
        "user_args": arguments(mine),
        "user_entry_point": program,
    }
    for name in channels:
        values[f"channel_{name}"] = f"/opt/ml/input/data/{name}"
    for name, value in mine.items():
        values[f"hp_{name}"] = value
    training = {
        "channel_input_dirs": {name: f"/opt/ml/input/data/{name}" for name in channels},
        "hyperparameters": mine,
        "job_name": framework.get("sagemaker_job_name", ""),
    }
    shared = (
        *("current_host", "hosts", "input_config_dir", "input_data_config", "input_dir"),
        *("is_master", "log_level", "model_dir", "module_dir", "module_name", "num_cpus"),
        *("num_gpus", "output_data_dir", "output_dir", "output_intermediate_dir"),
        *("resource_config", "user_entry_point", "network_interface_name"),
    )
    values["training_env"] = training | {name: values[name] for name in shared}
    return {f"SM_{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "" if value is None else str(value)
