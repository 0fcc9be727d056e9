"""What Model Monitor's container does: ``python -m ... monitor``, with the container's variables.

They are in "Container Contract Inputs" of Model Monitor in the SageMaker guide.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sagebridge_operators.backends.local.algorithms.user_errors import UserError, base, report
from sagebridge_operators.backends.local.checks import data_quality, model_quality
from sagebridge_operators.backends.local.checks.dataset import (
    handler,
    read_dataset,
    read_document,
    write_document,
)


def run(environment: Mapping[str, str]) -> None:
    """Write the statistics and constraints, and with a prior baseline its violations."""
    for name in ("dataset_source", "dataset_format", "output_path"):
        if not environment.get(name):
            raise UserError(f"the variable {name} is missing")
    output, table = Path(environment["output_path"]), _dataset(environment)
    kind = environment.get("analysis_type", "DATA_QUALITY")
    if kind not in ("DATA_QUALITY", "MODEL_QUALITY"):
        raise UserError(f"analysis_type {kind} needs AWS")
    module = model_quality if kind == "MODEL_QUALITY" else data_quality
    statistics = module.statistics(table, environment)
    write_document(output / "statistics.json", statistics)
    write_document(output / "constraints.json", module.constraints(statistics, environment))
    message = "Completed: Job completed successfully"
    if prior := environment.get("baseline_constraints"):
        document = read_document(Path(prior))
        if kind == "MODEL_QUALITY":
            found = list(model_quality.violations(statistics, document, environment))
        else:
            before = environment.get("baseline_statistics")
            if not before:
                print("No baseline_statistics: distributions are not compared")
            found = list(
                data_quality.violations(
                    table, document, read_document(Path(before)) if before else {}
                )
            )
        write_document(output / "constraint_violations.json", {"violations": found})
        message += " with no violations"
        if found:
            message = (
                f"CompletedWithViolations: Job completed successfully with {len(found)} violations"
            )
    if script := environment.get("post_analytics_processor_script"):
        handler(script, "postprocess_handler")()
    (base() / "output" / "message").write_text(f"{message}.", encoding="utf-8")
    print(f"{message}.")


def _dataset(environment: Mapping[str, str]) -> pd.DataFrame:
    try:
        ((kind, options),) = json.loads(environment["dataset_format"]).items()
        # The SDK's DatasetFormat has "header", and its MonitoringDatasetFormat "Header".
        given: dict[str, Any] = {str(key).lower(): one for key, one in options.items()}
    except (ValueError, AttributeError):
        text = environment["dataset_format"]
        raise UserError(f"dataset_format: expected one format with options, found {text}") from None
    return read_dataset(
        Path(environment["dataset_source"]),
        kind.lower(),
        header=_is_true(given.get("header", True)),
        lines=_is_true(given.get("lines", given.get("line", True))),
        preprocessor=environment.get("record_preprocessor_script", ""),
    )


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


if __name__ == "__main__":
    sys.exit(report(lambda: run(os.environ)))
