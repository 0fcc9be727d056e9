"""Lambda and Callback steps of a hand-written DAG on this machine."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from sagebridge_operators.lifecycle.answers import give_answer, waiting_steps
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords

pytestmark = [pytest.mark.airflow]

SOURCE = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import (
    CallbackOperator,
    LambdaOperator,
    OutputParameter,
    register_lambda,
)

def score(event, context):
    import boto3

    s3 = boto3.client("s3")
    s3.put_object(Bucket="scores", Key="one.json", Body=b"{}")
    print("scored by", context.function_name)
    return {"Score": event["x"] * 2, "Keys": s3.list_objects_v2(Bucket="scores")["KeyCount"]}

register_lambda("score", score)

with DAG(DAG_ID, schedule=None) as dag:
    one = LambdaOperator(
        task_id="Score",
        function_arn="arn:aws:lambda:us-east-1:111122223333:function:score",
        arguments={"x": 2},
        output_parameters=[OutputParameter("Score", "Integer"), OutputParameter("Keys", "Integer")],
    )
    CallbackOperator(
        task_id="Approve",
        sqs_queue_url="https://sqs.us-east-1.amazonaws.com/111122223333/reviews",
        arguments={"score": one.properties.OutputParameters["Score"]},
        output_parameters=[OutputParameter("Good", "Boolean")],
    )
"""


def test_dag_calls_its_function_and_waits_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function uses the local store, as jobs do."""
    from tests.dagtest import new_id, play

    for name, value in {
        "SAGEBRIDGE_BACKEND": "local",
        "SAGEBRIDGE_HOME": str(tmp_path / "home"),
        "SAGEBRIDGE_RECORDS": str(tmp_path / "home/executions"),
    }.items():
        monkeypatch.setenv(name, value)
    records = ExecutionRecords(Folder(tmp_path / "home/executions"))
    messages = []

    def answer() -> None:
        give_up = time.monotonic() + 100
        while not (waiting := waiting_steps(records)) and time.monotonic() < give_up:
            time.sleep(0.05)
        for one in waiting:
            messages.append(one.message)
            parameters = [{"Name": "Good", "Value": "true"}]
            give_answer(records, one.token, {"status": "Success", "outputParameters": parameters})

    file = tmp_path / "scored.py"
    file.write_text(SOURCE.replace("DAG_ID", json.dumps(new_id("calls"))))
    names: dict[str, object] = {"__name__": "scored"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    consumer = threading.Thread(target=answer)
    consumer.start()
    run = play(names["dag"])  # type: ignore[arg-type]
    consumer.join()
    assert run.state == "success"
    assert [one["arguments"] for one in messages] == [{"score": 4}]
    outputs = {name: (one.outputs or {})["output_parameters"] for name, one in run.steps.items()}
    assert outputs == {"Score": {"Score": 4, "Keys": 1}, "Approve": {"Good": True}}
