"""QualityCheck: a CreateProcessingJob with Model Monitor's container, which compares the baseline.

The container finds the prior baseline through ``baseline_constraints`` and ``baseline_statistics``
("Container Contract Inputs" of Model Monitor in the SageMaker guide), and writes its findings to
``constraint_violations.json`` ("Schema for Violations"). Its message is the ``ExitMessage`` of the
job, which begins with ``CompletedWithViolations`` or ``Completed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge_operators.run_errors import StepFailed, StoreError
from sagebridge_operators.steps.check_baselines import (
    Check,
    Flags,
    Violation,
    folder_of,
    local_path,
    read_json,
)
from sagebridge_operators.steps.job_type import Services

REPORT = "constraint_violations.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityCheck(Check):
    def baseline_variables(self, prior: Mapping[str, str]) -> dict[str, str]:
        return {f"baseline_{file.lower()}": local_path(file, uri) for file, uri in prior.items()}

    def violations(
        self, flags: Flags, description: Mapping[str, Any], services: Services
    ) -> list[Violation]:
        """The violations that the container reports.

        The message counts first: the folder may hold the report of an earlier job.
        """
        message = str(description.get("ExitMessage", ""))
        if message.startswith("Completed:"):
            return []
        violated = message.startswith("CompletedWithViolations")
        uri = f"{folder_of(description)}/{REPORT}"
        try:
            found = read_json(uri, services).get("violations") or []
        except StoreError as unread:
            if violated:
                return [{"description": f"{message}; {unread}"}]
            text = f"the result of the check is unknown: no ExitMessage, and {unread}"
            raise StepFailed(text, kind="check") from None
        return list(found) or ([{"description": message}] if violated else [])


_QUALITY = {
    "DATA_QUALITY": "ModelDataQuality",
    "MODEL_QUALITY": "ModelQuality",
}
STEP = QualityCheck(
    type="QualityCheck",
    files={"Constraints": "constraints.json", "Statistics": "statistics.json"},
    registered={
        check: {file: f"{member}.{file}" for file in ("Constraints", "Statistics")}
        for check, member in _QUALITY.items()
    },
)
