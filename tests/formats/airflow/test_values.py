"""Jinja templates as expressions of the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sagebridge.authoring.expression_json import write_value
from sagebridge.authoring.request_shapes import request_shape
from sagebridge.formats.airflow.json_templates import arguments_of
from sagebridge.formats.airflow.provider.provider_task import describe_output, property_output
from sagebridge.formats.airflow.task_values import RunTimeValue, Values, json_path, reject

jinja2 = pytest.importorskip("jinja2")

REQUEST = {
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "train"}, {"OutputName": "{{ ds }}"}]},
}
RUN_ID = {"Get": "Execution.PipelineExecutionId"}
ROUNDS = {"Get": "Parameters.rounds"}


class Dag:
    dag_id = "ages"
    render_template_as_native_obj = False

    @property
    def params(self) -> Any:
        return self

    def get_param(self, name: str) -> Any:
        return SimpleNamespace(has_value=name == "bucket", value="b")

    def get_template_env(self) -> Any:
        if self.render_template_as_native_obj:
            return jinja2.nativetypes.NativeEnvironment()
        return jinja2.sandbox.SandboxedEnvironment()


def values(*, native: bool = False) -> Values:
    dag = Dag()
    dag.render_template_as_native_obj = native
    outputs = {
        "prepare": describe_output(Processing=("Prepare", REQUEST)),
        "group.fit": property_output("Fit", "ModelPackageArn", rest=False),
        "code": property_output("Code", "return_value", keys=True),
    }
    return Values(dag, {"rounds": "Integer", "bucket": "String"}, outputs)


def join(*parts: Any) -> Any:
    return {"Std:Join": {"On": "", "Values": list(parts)}}


TRANSLATED = {
    "plain": "plain",
    "BEGIN;\nCOMMIT;\n\n": "BEGIN;\nCOMMIT;\n",
    "": "",
    "{ not } {a template}": "{ not } {a template}",
    "{{ params.bucket }}": {"Get": "Parameters.bucket"},
    "{{params['bucket']}}": {"Get": "Parameters.bucket"},
    "{{ params.rounds }}": join(ROUNDS),
    "{{ params.rounds }} {{ params.rounds }}": join(ROUNDS, " ", ROUNDS),
    "s3://{{ params.bucket }}/{{ run_id }}": join(
        "s3://", {"Get": "Parameters.bucket"}, "/", RUN_ID
    ),
    "a {{- ' b' -}} c": "a bc",
    "{{ 'x' }}{{ 5 }}": "x5",
    "{{ 5 }}": "5",
    "a{# comment #}b": "ab",
    "{% raw %}{{ x }}{% endraw %}": "{{ x }}",
    "{{ dag_run.run_id }}": RUN_ID,
    "{{ dag.dag_id }}": {"Get": "Execution.PipelineName"},
    "{{ ti.run_id }}": RUN_ID,
    "{{ task_instance.dag_id }}": {"Get": "Execution.PipelineName"},
    "{{ dag_run.conf['bucket'] }}": {"Get": "Parameters.bucket"},
    "{{ dag_run.conf.get('bucket', 'b') }}": {"Get": "Parameters.bucket"},
    "{{ ti.xcom_pull('group.fit') }}": {"Get": "Steps.Fit.ModelPackageArn"},
    "{{ task_instance.xcom_pull(task_ids='code', key='a b') }}": {
        "Get": "Steps.Code.return_value['a b']"
    },
    "{{ ti.xcom_pull('code')['x'][0] }}": {"Get": "Steps.Code.return_value['x'][0]"},
    "{{ ti.xcom_pull('prepare').Processing.ProcessingJobArn }}": {
        "Get": "Steps.Prepare.ProcessingJobArn"
    },
    "{{ ti.xcom_pull(['prepare'], key='Processing')[0]['Environment']['a.b'] }}": {
        "Get": "Steps.Prepare.Environment['a.b']"
    },
    "{{ ti.xcom_pull('prepare', dag_id='ages')['Processing']['ProcessingOutputConfig']"
    "['Outputs'][0]['S3Output'] }}": {
        "Get": "Steps.Prepare.ProcessingOutputConfig.Outputs['train'].S3Output"
    },
    "{{ ti.xcom_pull('prepare')['Processing']['ProcessingOutputConfig']['Outputs'][1] }}": {
        "Get": "Steps.Prepare.ProcessingOutputConfig.Outputs[1]"
    },
    "{{ 'a' ~ params.bucket ~ 1 }}": join("a", {"Get": "Parameters.bucket"}, 1),
}

RUN_TIME_VALUES = {
    "{{ ds }}": "macro",
    "{{ macros.ds_add(ds, 1) }}": "macro",
    "{{ macros.datetime.now() }}": "macro",
    "{{ mine('x', y=1) }}": "macro",
    "{{ ti.try_number }}": "macro",
    "{{ ti.xcom_pull(task_ids=ds) }}": "template",
    "{{ dag_run.conf.get('bucket', 'c') }}": "parameter",
    "{{ dag_run.conf.get('rounds', 5) }}": "parameter",
    "{{ var.json.x.y }}": "variable",
    "{{ conn.aws.password }}": "connection",
    "{{ params.bucket | upper }}": "filter",
    "{{ params.other }}": "parameter",
    "{{ params.rounds + 1 }}": "template",
    "{{ params[name] }}": "template",
    "{% for x in y %}{{ x }}{% endfor %}": "template",
    "{{ unclosed": "template",
    "{{ }}": "template",
    "{{ ti.xcom_pull('absent') }}": "xcom",
    "{{ ti.xcom_pull('prepare') }}": "xcom",
    "{{ ti.xcom_pull('prepare')['Training']['x'] }}": "xcom",
    "{{ ti.xcom_pull('prepare', dag_id='other') }}": "xcom",
    "{{ ti.xcom_pull(['prepare', 'code']) }}": "xcom",
    "{{ ti.xcom_pull('code', include_prior_dates=True) }}": "xcom",
    "{{ ti.xcom_pull('code')[-1] }}": "xcom",
    "{{ ti.xcom_pull('group.fit')['x'] }}": "xcom",
}


@pytest.mark.parametrize("text", TRANSLATED)
def test_template_becomes_expression(text: str) -> None:
    assert write_value(values().of(text)) == TRANSLATED[text]


@pytest.mark.parametrize("text", RUN_TIME_VALUES)
def test_run_time_value_is_raised(text: str) -> None:
    with pytest.raises(RunTimeValue) as raised:
        values().of({"inside": [text]})
    assert raised.value.code == RUN_TIME_VALUES[text]


def test_native_rendering_keeps_types() -> None:
    assert write_value(values(native=True).of("{{ params.rounds }}")) == ROUNDS
    assert values(native=True).of("{{ 5 }}") == 5
    assert values(native=True).of(["5", "[1, '2']", "x-5"]) == (5, (1, "2"), "x-5")


def test_fields_of_requests_keep_their_type() -> None:
    ranges = {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1"}]}
    config = {"HyperParameterTuningJobConfig": {"ParameterRanges": ranges}}
    found = values(native=True).of(config, field=request_shape("Tuning"))
    assert write_value(found) == config
    quoted = values(native=True).of("'0.1'", field=request_shape("Tuning"))
    assert quoted == "0.1"


def test_strings_in_number_fields_are_converted() -> None:
    training = request_shape("Training")
    config = {
        "TrainingJobName": "30",
        "ResourceConfig": {"InstanceCount": "{{ params.rounds | int }}", "VolumeSizeInGB": " 30"},
        "EnableNetworkIsolation": "True",
        "HyperParameters": {"rounds": "{{ params.rounds }}", "depth": "6"},
    }
    assert write_value(values().of(config, field=training)) == {
        "TrainingJobName": "30",
        "ResourceConfig": {"InstanceCount": ROUNDS, "VolumeSizeInGB": 30},
        "EnableNetworkIsolation": True,
        "HyperParameters": {"rounds": join(ROUNDS), "depth": "6"},
    }


def test_items_of_lists_are_converted() -> None:
    config = {"ProductionVariants": [{"InitialVariantWeight": "0.5", "ModelName": "0.5"}]}
    found = values().of(config, field=request_shape("EndpointConfig"))
    assert found == {"ProductionVariants": ({"InitialVariantWeight": 0.5, "ModelName": "0.5"},)}


def test_number_built_from_several_parts_is_a_run_time_value() -> None:
    config = {"StoppingCondition": {"MaxRuntimeInSeconds": "{{ params.rounds }}000"}}
    with pytest.raises(RunTimeValue, match="an Integer built from several parts") as raised:
        values().of(config, field=request_shape("Training"))
    assert (raised.value.code, raised.value.type) == ("template", "Integer")


def test_parameter_that_does_not_fit_its_field_is_noted() -> None:
    found = values()
    config = {
        "ResourceConfig": {"InstanceCount": "{{ params.bucket }}"},
        "EnableNetworkIsolation": "{{ params.rounds }}",
    }
    found.of(config, field=request_shape("Training"))
    assert found.needed == {"bucket": {"Integer"}, "rounds": {"Boolean"}}
    weight = {"ProductionVariants": [{"InitialVariantWeight": "{{ params.rounds }}"}]}
    found.needed.clear()
    found.of(weight, field=request_shape("EndpointConfig"))
    assert found.needed == {}


def test_keys_and_untemplated_fields_are_not_templates() -> None:
    assert values().of({"{{ ds }}": 1}) == {"{{ ds }}": 1}
    assert values().of("{{ ds }}", templated=False) == "{{ ds }}"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_number_outside_json_is_a_run_time_value(number: float) -> None:
    with pytest.raises(RunTimeValue, match="not a JSON number"):
        values().of({"inside": [number]})


def test_value_outside_json_is_a_run_time_value() -> None:
    with pytest.raises(RunTimeValue, match="a set, which is not a JSON value"):
        values().of({"x": {1, 2}})


EVENTS = {
    '{"a": {{ params.rounds }}, "b": "{{ params.rounds }}", "c": "x{{ run_id }}"}': {
        "a": ROUNDS,
        "b": join(ROUNDS),
        "c": join("x", RUN_ID),
    },
    '{"quote": "\\"{{ params.bucket }}\\"", "n": [1, {{ 2 }}, "{{ 3 }}"]}': {
        "quote": join('"', {"Get": "Parameters.bucket"}, '"'),
        "n": [1, 2, "3"],
    },
    "{}": {},
    "[1]": None,
    "text": None,
    '{"{{ params.bucket }}": 1}': None,
    '{"a": {{ params.bucket }}x}': None,
}


@pytest.mark.parametrize("text", EVENTS)
def test_json_string_with_templates(text: str) -> None:
    found = arguments_of(text, values(), reject)
    assert (found if found is None else write_value(found)) == EVENTS[text]


def test_json_path() -> None:
    assert json_path(("a", "b-c", 0, "d")) == "a['b-c'][0].d"
