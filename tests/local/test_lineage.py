"""Lineage on this machine: what a Lineage step records, and the API that shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from tests.local.api_requests import code

ON_AWS = "arn:aws:sagemaker:eu-west-1:111122223333:artifact/0a1b"
LINEAGE = {
    "Actions": [
        {"ActionName": "run", "ActionType": "ModelTraining", "Source": {"SourceUri": "s3://b/run"}}
    ],
    "Artifacts": [
        {
            "ArtifactName": "model",
            "ArtifactType": "Model",
            "Source": {"SourceUri": "s3://b/model"},
        }
    ],
    "Associations": [
        {
            "Source": {"Name": "run", "Type": "Action"},
            "Destination": {"Name": "model", "Type": "Artifact"},
            "AssociationType": "Produced",
        },
        {"Source": {"Arn": ON_AWS}, "Destination": {"Name": "run", "Type": "Action"}},
    ],
}


def test_step_records_entities_and_associations_once(
    backend: LocalBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    started = datetime.now(UTC)
    run = Execution("0123456789ab", "p", "airflow", "dag/run", started, {})
    records = ExecutionRecords(Folder(tmp_path / "executions"))
    step = Step("Lin", "Lineage", arguments=plain(LINEAGE))
    task = StepTask(step, run, backend, records, lambda name: None)
    outputs = StepDriver(task).run()
    assert caplog.text.count("on this machine: Associations[0], Associations[1]: only the") == 1
    assert StepDriver(replace(task, generation=1)).run() == outputs

    sagemaker = backend.client("sagemaker")
    action = sagemaker.describe_action(ActionName="run")
    (artifact,) = sagemaker.list_artifacts(SourceUri="s3://b/model")["ArtifactSummaries"]
    assert outputs["action_arns"] == {"run": action["ActionArn"]}
    assert outputs["artifact_arns"] == {"model": artifact["ArtifactArn"]}
    assert sagemaker.list_actions(CreatedBefore=started)["ActionSummaries"] == []

    (made,) = sagemaker.list_associations(AssociationType="Produced")["AssociationSummaries"]
    assert (made["SourceName"], made["DestinationType"]) == ("run", "Model")
    (other,) = sagemaker.list_associations(SourceArn=ON_AWS)["AssociationSummaries"]
    assert other["DestinationArn"] == action["ActionArn"]
    sagemaker.delete_association(SourceArn=ON_AWS, DestinationArn=action["ActionArn"])
    assert len(sagemaker.list_associations()["AssociationSummaries"]) == 1


def test_missing_entity_is_an_error(sagemaker: Any) -> None:
    here = "arn:aws:sagemaker:us-east-1:000000000000:artifact/none"
    for call, request in (
        (sagemaker.describe_context, {"ContextName": "none"}),
        (sagemaker.delete_artifact, {"ArtifactArn": here}),
        (sagemaker.add_association, {"SourceArn": here, "DestinationArn": ON_AWS}),
    ):
        with pytest.raises(ClientError, match="does not exist") as missing:
            call(**request)
        assert code(missing) == "ResourceNotFound"
