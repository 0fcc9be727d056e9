"""Pipelines built in Python. `make check` type-checks this file, so the calls are typed too."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import pickle
import re
import subprocess
import sys
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge import (
    ABSENT,
    CacheConfig,
    ConditionStep,
    ForEachStep,
    JsonGet,
    OutputParameter,
    Parallelism,
    Parameter,
    Pipeline,
    PropertyFile,
    RetryPolicy,
    Step,
    equals,
    execution,
    get,
    greater_than,
    is_in,
    join,
    json_get,
    less_than_or_equal_to,
    not_,
    or_,
    parameter,
)
from sagebridge.authoring import public_names
from sagebridge.errors import FormatError, ModelTypeError
from sagebridge.model import event_triggers, schedules, step_settings
from sagebridge.model import parameters as parameters_module
from sagebridge.model import pipeline as pipeline_module
from sagebridge.model.dependencies import Dependency
from sagebridge.model.engine_settings import NO_SETTINGS
from sagebridge.model.source_notes import NO_NOTES
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import Object, thaw

DOCS = Path(__file__).parent.parent.parent / "docs/python.md"
EXAMPLE = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
ROOT = Path(sagebridge.__file__).parent


def definition(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sagebridge.write(pipeline, "sagemaker").text)
    return found


def test_example_in_the_docs_builds_validates_and_writes() -> None:
    assert EXAMPLE
    code, printed = EXAMPLE[1], io.StringIO()
    assert len(code.splitlines()) <= 15
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    text = printed.getvalue()
    end = text.index('"""')
    assert sagebridge.read(text[:end]).pipeline == names["pipeline"]
    assert "check = ConditionOperator(" in text
    assert "    with check.met():" in text


@pytest.mark.parametrize("format", ["sagemaker", "airflow", "prefect"])
def test_built_pipeline_survives_each_format(tmp_path: Path, format: str) -> None:
    pipeline = build()
    suffix = ".json" if format == "sagemaker" else ".py"
    file = tmp_path / f"Abalone{suffix}"
    file.write_text(sagebridge.write(pipeline, format).text)
    if format != "airflow":  # reading a DAG file needs Airflow and a subprocess
        assert sagebridge.read(str(file)).pipeline == pipeline


def build() -> Pipeline:
    count, bucket = Parameter("Count", "Integer", 1), Parameter("Bucket", enum_values=["a", "b"])
    train = Step(
        "Train",
        "Training",
        {"ResourceConfig": {"InstanceCount": count}, "Tags": [{"Key": "k", "Value": bucket}]},
        retry_policies=[RetryPolicy(["SageMaker.JOB_INTERNAL_ERROR"], max_attempts=2)],
        cache_config=CacheConfig(True, "PT1H"),
    )
    evaluate = Step(
        "Evaluate",
        "Processing",
        {"Image": join("/", bucket, execution.pipeline_execution_id)},
        depends_on=[train, "Prepare", {"Step": "Other", "Trigger": "Completed"}],
        property_files=[PropertyFile("Report", "evaluation", "report.json")],
        output_parameters=[OutputParameter("out", "String")],
    )
    check = ConditionStep(
        "Check",
        conditions=[
            less_than_or_equal_to(json_get(evaluate, "Report", "mse"), count),
            or_(not_(equals(bucket, "x")), is_in(count, [1, 2]), greater_than(count, 0)),
        ],
        if_steps=[Step("Stop", "Fail", {"ErrorMessage": train.properties.FailureReason})],
    )
    return Pipeline("Abalone", [train, evaluate, check], [count, bucket])


def test_lists_and_dicts_are_frozen() -> None:
    train, evaluate, check = build().steps
    assert isinstance(train.arguments, Object)
    assert evaluate.depends_on == ("Train", "Prepare", Dependency("Other", "Completed"))
    assert isinstance(check, ConditionStep)
    assert isinstance(check.conditions, tuple)
    assert check.else_steps == ()
    assert hash(build()) == hash(build())


def test_parameters_and_properties_become_references() -> None:
    train, evaluate, check = definition(build())["Steps"]
    assert train["Arguments"]["ResourceConfig"] == {"InstanceCount": {"Get": "Parameters.Count"}}
    values = evaluate["Arguments"]["Image"]["Std:Join"]["Values"]
    assert values == [{"Get": "Parameters.Bucket"}, {"Get": "Execution.PipelineExecutionId"}]
    assert check["Arguments"]["Conditions"][0]["RightValue"] == {"Get": "Parameters.Count"}
    (stop,) = check["Arguments"]["IfSteps"]
    assert stop["Arguments"]["ErrorMessage"] == {"Get": "Steps.Train.FailureReason"}


@pytest.mark.parametrize("type_", STEP_TYPES)
def test_every_step_type_can_be_built(type_: str) -> None:
    row = STEP_TYPES[type_]
    step: Step = Step("A", type_, {"X": 1}, extra=dict.fromkeys(row.members.values(), "v"))
    if type_ == "Condition":
        step = ConditionStep("A", conditions=[equals(1, 1)])
    if type_ == "ForEach":
        step = ForEachStep("A", items=["a"], max_concurrency=1, body=[Step("B", "Model")])
    pipeline = Pipeline("p", [step])
    assert sagebridge.read(definition(pipeline)).pipeline == pipeline


@pytest.mark.parametrize(
    ("build_one", "problems"),
    [
        (
            lambda: Step("A", "Model", [{1: 2}], depends_on=[3], cache_config=True),  # type: ignore[arg-type, list-item]
            [
                "step 'A': arguments: the keys of a JSON object are strings, got 1",
                "step 'A': depends_on: expected a step or a step name, got 3",
                "step 'A': cache_config: expected a CacheConfig, got True",
            ],
        ),
        (lambda: Step("A", 1), ["step 'A': type: expected a string, got 1"]),  # type: ignore[arg-type]
        (
            lambda: Step("A", "Model", depends_on="B"),
            ["step 'A': depends_on: expected a list, got 'B'"],
        ),
        (
            lambda: ConditionStep("A", conditions=[True], if_steps=["B"]),  # type: ignore[list-item]
            [
                "step 'A': conditions: expected a condition such as equals(…), got True",
                "step 'A': if_steps: expected a step, got 'B'",
            ],
        ),
        (
            lambda: Pipeline("P", ["A"], [1]),  # type: ignore[list-item]
            [
                "pipeline 'P': steps: expected a step, got 'A'",
                "pipeline 'P': parameters: expected a Parameter, got 1",
            ],
        ),
        (
            lambda: Pipeline("P", [Step("A", "Condition")]),
            ["pipeline 'P': steps: build the Condition step 'A' with ConditionStep"],
        ),
        (
            lambda: Parameter(1, 2),  # type: ignore[arg-type]
            [
                "parameter 1: name: expected a string, got 1",
                "parameter 1: type: expected a string, got 2",
            ],
        ),
        (
            lambda: RetryPolicy("A", extra=[]),  # type: ignore[arg-type]
            [
                "retry policy: exception_types: expected a list, got 'A'",
                "retry policy: extra: expected a dict, got []",
            ],
        ),
    ],
)
def test_wrong_types_are_reported_together(build_one: Any, problems: list[str]) -> None:
    with pytest.raises(ModelTypeError) as raised:
        build_one()
    assert list(raised.value.problems) == problems
    assert isinstance(raised.value, TypeError)
    copied = pickle.loads(pickle.dumps(raised.value))
    assert copied.problems == raised.value.problems


@pytest.mark.parametrize(
    "build_one",
    [
        lambda odd: Parameter("P", default=odd),
        lambda odd: Parameter("P", enum_values=[odd]),
        lambda odd: Parameter("P", extra={"A": odd}),
        CacheConfig,
        lambda odd: RetryPolicy(["A"], max_attempts=odd),
        lambda odd: OutputParameter("A", odd),
        lambda odd: Pipeline("p", version=odd),
        lambda odd: Pipeline("p", request={"A": odd}),
        lambda odd: ConditionStep("C", conditions=[not_(equals(odd, 1))]),
        lambda odd: ConditionStep("C", conditions=[is_in("a", [odd])]),
    ],
)
@pytest.mark.parametrize("odd", [object(), float("nan"), b"x"])
def test_values_that_are_not_json_are_rejected(build_one: Any, odd: Any) -> None:
    with pytest.raises(ModelTypeError, match=r"is not a (pipeline value|JSON number)"):
        build_one(odd)


@pytest.mark.parametrize(
    ("build_one", "problem"),
    [
        (lambda: Parameter("P", enum_values="ab"), "enum_values: expected a list, got 'ab'"),
        (lambda: Parameter("P", extra=1), "extra: expected a dict, got 1"),  # type: ignore[arg-type]
        (lambda: Parallelism("4"), "expected an integer, got '4'"),  # type: ignore[arg-type]
        (lambda: Parallelism(True), "expected an integer, got True"),
        (lambda: RetryPolicy(["A", "B"], one_type=True), "expected one type with one_type, got 2"),
        (lambda: Pipeline("p", key_order={"Steps": 5}), "a list of keys at 'Steps', got 5"),
        (lambda: ConditionStep("C", "Training"), "has the type 'Condition', got 'Training'"),
    ],
)
def test_wrong_type_of_one_field(build_one: Any, problem: str) -> None:
    with pytest.raises(ModelTypeError, match=re.escape(problem)):
        build_one()


@pytest.mark.parametrize(
    ("build_one", "problem"),
    [
        (lambda: join(1, "a"), "join() expects the separator first"),  # type: ignore[arg-type]
        (lambda: parameter(5), "expected the name of a parameter, got 5"),  # type: ignore[arg-type]
        (lambda: get(5), "expected the path of a reference, got 5"),  # type: ignore[arg-type]
        (lambda: json_get(5, "F", "a"), "expected a step or a step name, got 5"),  # type: ignore[arg-type]
        (
            lambda: json_get("S", PropertyFile("a", "b", "c"), "a"),  # type: ignore[arg-type]
            "expected the name of a property file",
        ),
        (
            lambda: JsonGet("a", "Steps.S.PropertyFiles.F"),  # type: ignore[arg-type]
            "expected get('Steps.NAME.PropertyFiles.FILE')",
        ),
        (lambda: JsonGet("a", get("Steps.S.F")), "got 'Steps.S.F'"),
    ],
)
def test_wrong_types_in_expressions(build_one: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)):
        build_one()


def test_names_that_need_quotes_are_quoted_in_references() -> None:
    assert parameter("a b") == get("Parameters['a b']")
    assert json_get("A", "report.json", "x").property_file == get(
        "Steps.A.PropertyFiles['report.json']"
    )
    assert Step("a b", "Model").properties.ModelName._get == get("Steps['a b'].ModelName")


def test_a_changed_list_does_not_change_the_objects_built_with_it() -> None:
    given: list[Any] = [1]
    policy = RetryPolicy(["A"], interval_seconds=given)
    pipeline = Pipeline(
        "p", version=given, request={"Tags": given}, key_order={"A": (keys := [""])}
    )
    given.append(2)
    keys.append("b")
    assert policy.interval_seconds == (1,)
    assert (pipeline.version, pipeline.request) == ((1,), Object({"Tags": (1,)}))
    assert pipeline.key_order == Object({"A": ("",)})


def test_enum_members_and_other_subclasses_are_written_as_plain_values() -> None:
    class Word(StrEnum):
        A = "a"

    class Number(IntEnum):
        ONE = 1

    class Share(float):
        pass

    step = Step(Word.A, "Model", {Word.A: [Word.A, Number.ONE, Share(0.5), join("", Word.A)]})
    assert [type(one) for one in step.arguments["a"][:3]] == [str, int, float]
    for target in ("airflow", "prefect"):
        text = sagebridge.write(Pipeline("p", [step]), target).text
        assert '{"a": ["a", 1, 0.5, join("", "a")]}' in text


def test_values_that_contain_themselves_are_rejected() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ModelTypeError, match="nested too deeply, or contains itself"):
        Step("A", "Model", {"X": circle})


def test_hashes_of_unpickled_values_are_of_this_process() -> None:
    arguments = Step("A", "Model", {"X": "text"}).arguments
    hash(arguments)  # computed once and kept
    code = (
        "import pickle, sys; from sagebridge.model.values import Object; "
        "found = pickle.load(sys.stdin.buffer); assert hash(found) == hash(Object(found))"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(arguments, 0),
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )


def test_write_needs_a_pipeline() -> None:
    with pytest.raises(FormatError, match=r"expects a Pipeline, got a dict; use read\(\)"):
        sagebridge.write({"Steps": []}, "airflow")  # type: ignore[arg-type]


def test_dir_lists_the_whole_api() -> None:
    assert set(sagebridge.__all__) <= set(dir(sagebridge))


def test_steps_and_parameters_are_not_formatted() -> None:
    with pytest.raises(TypeError, match="parameter 'P' is only known at run time"):
        f"{Parameter('P')}"
    with pytest.raises(TypeError, match="step 'A' cannot be part of a string"):
        f"{Step('A', 'Model')}"


def test_read_validate_and_translate_take_a_pipeline() -> None:
    pipeline = Pipeline("p", [Step("A", "Model", {"ExecutionRoleArn": get("Steps.B.ModelName")})])
    assert sagebridge.read(pipeline, name="q").pipeline.name == "q"
    assert sagebridge.read(pipeline) == (pipeline, ())
    (finding,) = sagebridge.validate(pipeline)
    assert (finding.code, finding.pointer) == (
        "unknown-step",
        "/Steps/0/Arguments/ExecutionRoleArn/Get",
    )
    line = sagebridge.write(pipeline, "sagemaker").text.splitlines()[finding.line - 1]
    assert "Steps.B.ModelName" in line
    fine = Pipeline("p", [Step("A", "Model", {})])
    assert sagebridge.translate(fine, "prefect") == sagebridge.write(fine, "prefect")


def test_pipeline_of_a_module_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "build_it.py").write_text(
        "from sagebridge import Parallelism, Pipeline, Step\n"
        "pipeline = Pipeline('p', [Step('A', 'Model')], parallelism=Parallelism(2))\n"
        "def made(): return pipeline\n"
    )
    for attribute in ("pipeline", "made"):
        pipeline = sagebridge.read(f"{tmp_path / 'build_it.py'}:{attribute}").pipeline
        assert pipeline == Pipeline("p", [Step("A", "Model")])
        assert (pipeline.name, pipeline.parallelism) == ("p", Parallelism(2))


def test_typed_constructors_match_the_fields() -> None:
    """The __init__ that type checkers see repeats the fields; dataclasses make the real one."""
    found = 0
    modules = (pipeline_module, step_settings, parameters_module, schedules, event_triggers)
    for module in modules:
        for node in ast.parse(inspect.getsource(module)).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for part in (one for one in node.body if isinstance(one, ast.If)):
                (init,) = part.body
                assert isinstance(init, ast.FunctionDef)
                signature = inspect.signature(getattr(module, node.name)).parameters.values()
                assert [one.arg for one in init.args.args[1:]] == [one.name for one in signature]
                defaults = [ast.unparse(one) for one in init.args.defaults]
                names = {
                    "ABSENT": ABSENT,
                    "EMPTY": Object(),
                    "NO_NOTES": NO_NOTES,
                    "NO_SETTINGS": NO_SETTINGS,
                    "VERSION": pipeline_module.VERSION,
                }
                given = [one.default for one in signature if one.default is not one.empty]
                assert [eval(one, names) for one in defaults] == given
                found += 1
    assert found == 10


def test_star_import_has_only_the_api() -> None:
    names: dict[str, Any] = {}
    exec("from sagebridge import *", names)
    del names["__builtins__"]
    assert sorted(names) == sorted(sagebridge.__all__)
    assert set(public_names.__all__) < set(names)


@pytest.mark.parametrize("name", sagebridge.__all__)
def test_docs_name_the_whole_api(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS.read_text())


def test_thaw_returns_plain_json() -> None:
    assert thaw(Step("A", "Model", {"X": [1, {"Y": None}]}).arguments) == {"X": [1, {"Y": None}]}
