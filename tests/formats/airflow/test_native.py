"""``--style native``: what a DAG of the Amazon provider's operators says, read back."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import SandboxedEnvironment
from networkx import has_path

import sagebridge
from sagebridge.errors import FormatError, SagebridgeError
from sagebridge.model.expressions import Join, get, is_expression, join, parameter
from sagebridge.model.graph import graph
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.values import ABSENT, Object, Value, key_of
from sagebridge.model.visit import rebuild
from sagebridge.registry import FORMATS

pytestmark = pytest.mark.airflow

EXAMPLE = Path(__file__).parents[3] / "pipelines" / "abalone" / "definition.json"
JOB_NAMES = ("ProcessingJobName", "TrainingJobName")


def native(
    pipelines: Sequence[Pipeline], folder: Path
) -> list[tuple[Pipeline, Pipeline, Sequence[Loss]]]:
    """Pipelines, each with what its native DAG is read as and the losses of writing that."""
    written = [sagebridge.write(one, "airflow", document="native") for one in pipelines]
    files = []
    for number, (text, _) in enumerate(written):
        assert "sagebridge_operators" not in text
        files.append(folder / f"dag{number}.py")
        files[-1].write_text(text)
    back = FORMATS["airflow"].readings_of([str(file) for file in files])
    read = [one for one in back if not isinstance(one, SagebridgeError)]
    assert len(read) == len(files)
    return [
        (one, found[0][0], losses)
        for one, found, (_, losses) in zip(pipelines, read, written, strict=True)
    ]


def as_text(value: Value) -> Value:
    """Joins as templates say them: without separators, in one level, of strings."""
    if not isinstance(value, Join):
        return value
    parts: list[Value] = []
    for number, one in enumerate(value.values):
        if number and value.on is not ABSENT:
            parts.append(value.on)
        parts += one.values if isinstance(one, Join) else (one,)
    merged: list[Value] = []
    for part in parts:
        text = part if is_expression(part) else str(part)
        if isinstance(text, str) and merged and isinstance(merged[-1], str):
            merged[-1] += text
        elif not isinstance(text, str) or text:
            merged.append(text)
    return merged[0] if len(merged) == 1 else Join(tuple(merged), "")


def comparable(step: Step) -> Any:
    """The type and values of a step; without the names of jobs."""
    values = [rebuild(one, as_text) for one in step.values()]
    given = values[0] if isinstance(values[0], Object) else {}
    values[0] = Object({key: one for key, one in given.items() if key not in JOB_NAMES})
    return step.type, key_of(tuple(values))


def check(files: Iterable[Path], folder: Path) -> None:
    """Check that files are read back, less the steps with losses and what refers to them."""
    for pipeline, back, losses in native([sagebridge.read(one).pipeline for one in files], folder):
        lost = {loss.step for loss in losses if loss.step}
        after = graph(pipeline)
        found = {step.name: step for step in walk(back)}
        assert sorted(found) == sorted(step.name for step in walk(pipeline))
        for step in walk(pipeline):
            if lost.isdisjoint({step.name, *after.predecessors(step.name)}):
                assert comparable(found[step.name]) == comparable(step)
        if not lost:
            # A step after one of a branch is read as one of the branch, which is the same.
            more = set(graph(back).edges) ^ set(after.edges)
            assert all(has_path(after, *edge) for edge in more)


def test_example_is_read_back_less_its_losses(tmp_path: Path) -> None:
    check([EXAMPLE], tmp_path)


@pytest.mark.slow
def test_corpus_is_read_back_less_its_losses(corpus: Path, tmp_path: Path) -> None:
    check(sorted(corpus.glob("*.json")), tmp_path)


def test_text_of_a_definition_is_not_rendered(tmp_path: Path) -> None:
    texts = ("{{ ds }}", "{% raw %}", "{#", "line\n", "a\r\nb", "'\"}}", "{{ '{{' }}")
    message = join("-", *texts, parameter("P"))
    request = {"Environment": {"A": texts[0], texts[1]: "x"}, "Tags": list(texts)}
    steps = [Step("F", "Fail", {"ErrorMessage": message}), Step("M", "Model", request)]
    pipeline = Pipeline(steps=steps, parameters=[Parameter("P", "String", "{{ 1 }}")])
    ((_, back, _),) = native([pipeline], tmp_path)
    assert [comparable(one) for one in back.steps] == [comparable(one) for one in steps]
    assert back.declared == pipeline.declared


def test_steps_without_an_operator_fail_with_the_reason(tmp_path: Path) -> None:
    steps = [
        Step("Wait", "Callback", {}, extra={"SqsQueueUrl": "https://sqs/q"}),
        Step(
            "Next",
            "Lambda",
            {"a": get("Steps.Wait.OutputParameters['x']")},
            extra={"FunctionArn": "arn:aws:lambda:us-east-1:111122223333:function:f"},
        ),
    ]
    ((_, back, losses),) = native([Pipeline(steps=steps)], tmp_path)
    assert [(loss.step, loss.severity) for loss in losses if loss.step] == [
        ("Wait", "dropped"),
        ("Next", "dropped"),
    ]
    assert [step.type for step in back.steps] == ["Fail", "Fail"]


def test_number_of_a_field_that_stays_text_is_the_default(tmp_path: Path) -> None:
    request = {
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        "ResourceConfig": {
            "InstanceCount": parameter("N"),
            "KeepAlivePeriodInSeconds": parameter("N"),
        },
    }
    pipeline = Pipeline(
        steps=[Step("T", "Training", request)], parameters=[Parameter("N", "Integer", 2)]
    )
    ((_, back, losses),) = native([pipeline], tmp_path)
    (loss,) = (loss for loss in losses if loss.step)
    assert loss.severity == "changed"
    assert "ResourceConfig.KeepAlivePeriodInSeconds has the default of N" in loss.what
    config = back.steps[0].arguments["ResourceConfig"]
    assert key_of(config) == key_of(
        {"InstanceCount": parameter("N"), "KeepAlivePeriodInSeconds": 2}
    )


def test_style_is_an_option_of_dags() -> None:
    with pytest.raises(FormatError, match="'native' is a document of airflow"):
        sagebridge.write(
            Pipeline(steps=[Step("F", "Fail", {"ErrorMessage": "x"})]), "prefect", document="native"
        )


def test_payload_is_json_for_all_values_of_parameters(tmp_path: Path) -> None:
    event = {
        "count": parameter("N"),
        "text": join("-", "{{ ds }}", parameter("S"), 'a"b'),
        "list": [1, {"s": parameter("S")}],
        "'": None,
    }
    function = "arn:aws:lambda:us-east-1:111122223333:function:f"
    declared = [Parameter("N", "Integer", 2), Parameter("S", "String", '"')]
    step = Step("F", "Lambda", event, extra={"FunctionArn": function})
    pipeline = Pipeline(steps=[step], parameters=declared)
    text = sagebridge.write(pipeline, "airflow", document="native").text
    ((_, back, _),) = native([pipeline], tmp_path)
    assert comparable(back.steps[0]) == comparable(step)
    (payload,) = re.findall(r"payload=(.*),\n", text)
    values = {"N": 3, "S": '", "count": 7, "x": "'}
    rendered = SandboxedEnvironment().from_string(ast.literal_eval(payload)).render(params=values)
    assert json.loads(rendered) == {
        "count": 3,
        "text": f'{{{{ ds }}}}-{values["S"]}-a"b',
        "list": [1, {"s": values["S"]}],
        "'": None,
    }


def test_argument_of_emr_is_not_read_from_a_file(tmp_path: Path) -> None:
    jar = {"Jar": "command-runner.jar", "Args": ["--conf", "s3://bucket/conf.json"]}
    step = Step("E", "EMR", {"ClusterId": "j-1", "StepConfig": {"HadoopJarStep": jar}})
    pipeline = Pipeline(steps=[step])
    text = sagebridge.write(pipeline, "airflow", document="native").text
    assert not re.search(r"\.json[\"']", text)
    ((_, back, _),) = native([pipeline], tmp_path)
    assert comparable(back.steps[0]) == comparable(step)
