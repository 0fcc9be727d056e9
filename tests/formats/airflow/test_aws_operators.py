"""Operators of the Amazon provider whose options decide what a call does or ignores."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagebridge.formats.airflow.reader import read_one
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.values import thaw

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(120)]

DAG = """
from airflow.providers.amazon.aws.operators.emr import EmrServerlessStopApplicationOperator
from airflow.providers.amazon.aws.operators.glue import GlueDataQualityOperator, GlueJobOperator
from airflow.providers.amazon.aws.operators.glue_catalog import (
    GlueCatalogCreateDatabaseOperator,
    GlueCatalogDeleteDatabaseOperator,
)
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.providers.amazon.aws.operators.ssm import SsmRunCommandOperator
from airflow.sdk import DAG

QUERY = {"sql": "select 1", "cluster_identifier": "c", "database": "d"}
COMMAND = {"document_name": "x", "run_command_kwargs": {"InstanceIds": ["i"]}}

with DAG("calls", schedule=None):
    S3CreateBucketOperator(task_id="bucket", bucket_name="b")
    GlueJobOperator(task_id="glue", job_name="j")
    GlueJobOperator(task_id="glue_left", job_name="j", stop_job_run_on_kill=False)
    GlueJobOperator(task_id="glue_stopped", job_name="j", stop_job_run_on_kill=True)
    GlueDataQualityOperator(task_id="rules", name="r", ruleset="Rules = []")
    GlueDataQualityOperator(task_id="new_rules", name="r", ruleset="[]", update_rule_set=True)
    GlueCatalogCreateDatabaseOperator(task_id="database", database_name="d")
    GlueCatalogCreateDatabaseOperator(task_id="new_database", database_name="d", if_exists="fail")
    GlueCatalogDeleteDatabaseOperator(task_id="no_database", database_name="d")
    SsmRunCommandOperator(task_id="command", **COMMAND)
    SsmRunCommandOperator(task_id="tolerant", fail_on_nonzero_exit=False, **COMMAND)
    RedshiftDataOperator(task_id="sql", **QUERY)
    RedshiftDataOperator(task_id="sql_left", cancel_on_kill=False, **QUERY)
    EmrServerlessStopApplicationOperator(task_id="off", application_id="a", force_stop=True)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> FileReading:
    file: Path = tmp_path_factory.mktemp("dags") / "calls.py"
    file.write_text(DAG)
    return read_one(file)


def test_only_errors_that_the_operator_ignores_are_ignored(found: FileReading) -> None:
    ignored = {one.name: thaw(one.arguments).get("ignore") for one in found.pipeline.steps}
    assert ignored["bucket"] == ["BucketAlreadyOwnedByYou"]
    assert ignored["database"] == ["AlreadyExistsException"]
    assert ignored["new_database"] is ignored["no_database"] is None


def test_job_is_stopped_on_a_kill_unless_the_author_lets_it_run(found: FileReading) -> None:
    stopped = {one.name for one in found.pipeline.steps if "stop" in thaw(one.arguments)}
    assert stopped == {"glue", "glue_stopped", "command", "tolerant", "sql"}
    reported = {loss.step for loss in found.losses if "does not stop it" in loss.what}
    assert reported == {"glue", "command", "tolerant"}


def test_options_that_change_the_call_are_carried_or_reported(found: FileReading) -> None:
    calls = {one.name: thaw(one.arguments) for one in found.pipeline.steps}
    assert calls["rules"]["operation"] == "CreateDataQualityRuleset"
    assert calls["new_rules"]["operation"] == "UpdateDataQualityRuleset"
    assert "Failed" in calls["command"]["wait"]["failure"]
    assert "Failed" in calls["tolerant"]["wait"]["success"]
    (lost,) = (loss for loss in found.losses if loss.severity == "dropped")
    assert "force_stop" in lost.what
