"""Code steps are removed from a definition, with their references and dependencies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import definition
from sagebridge.authoring.expression_json import write_value
from sagebridge.model.code_removal import without, without_carried
from sagebridge.model.code_steps import (
    AWS_CALL,
    PYTHON,
    SHELL,
    AwsCallStep,
    CarriedStep,
    PythonStep,
    ShellStep,
)
from sagebridge.model.code_transport import (
    code_of,
    with_code,
    with_templates,
    without_templates,
)
from sagebridge.model.conditions import equals, greater_than
from sagebridge.model.engine_settings import EngineSettings, Hook
from sagebridge.model.expressions import Get, get, join, plain, template
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.functions import Function
from sagebridge.model.graph import graph
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import ABSENT, EMPTY

ROLE = "arn:aws:iam::111122223333:role/r"


def model(name: str, image: Any = "i", after: tuple[str, ...] = ()) -> Step:
    arguments = plain({"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image}})
    return Step(name, "Model", arguments=arguments, depends_on=after)


def code(
    name: str, value: Any = None, after: tuple[str, ...] = (), type_: str = PYTHON
) -> CarriedStep:
    step = Step(name, type_, plain({"args": [value], "kwargs": {}}), depends_on=after)
    origin = f"dag.py:{len(name)}"
    if type_ == SHELL:
        return ShellStep.of(step, origin)
    return PythonStep.of(step, Function(name, f"def {name}(): ..."), origin)


def test_pipeline_without_code_is_unchanged() -> None:
    unknown = {"Name": "C", "Type": PYTHON, "Source": "raise SystemExit", "Callable": "f"}
    read = sagebridge.read({"Version": "2020-12-01", "Steps": [unknown]}).pipeline.steps
    pipeline = Pipeline(steps=(model("A"), Step("B", "SomeNewType"), *read))
    assert without_carried(pipeline) == (pipeline, ())


def test_dependencies_skip_removed_steps() -> None:
    steps = (
        model("A"),
        code("one", get("Steps.A.ModelName")),
        code("two", after=("one",), type_=SHELL),
        model("B", after=("two", "A")),
        model("C", after=("two",)),
    )
    left, losses = without_carried(Pipeline(steps=steps))
    assert sorted(graph(left).edges) == [("A", "B"), ("A", "C")]
    assert [(loss.code, loss.severity, loss.place) for loss in losses] == [
        ("python-task", "dropped", "dag.py:3"),
        ("shell-task", "dropped", "dag.py:3"),
    ]


def test_parameter_has_the_return_type_of_the_function() -> None:
    step = code("count")
    assert isinstance(step, PythonStep)
    step = replace(step, function=replace(step.function, returns="Integer"))
    parts = {"whole": get("Steps.count.return_value"), "part": get("Steps.count.return_value[0]")}
    left, _ = without_carried(Pipeline(steps=(step, model("A", plain(parts)))))
    assert [(one.name, one.type) for one in left.declared] == [
        ("count", "Integer"),
        ("count_0", "String"),
    ]


def test_result_becomes_a_required_parameter() -> None:
    value = get("Steps.pick.return_value['image']")
    pipeline = Pipeline(
        steps=(code("pick"), model("A", join("", value, ":3")), model("B", value)),
        parameters=(Parameter("pick_image", default="taken"),),
    )
    left, losses = without_carried(pipeline)
    added = left.declared[-1]
    assert (added.name, added.type, bool(added.default)) == ("pick_image_2", "String", False)
    assert left.step("B").arguments["PrimaryContainer"]["Image"] == Get.parse(  # type: ignore[union-attr]
        "Parameters.pick_image_2"
    )
    assert [loss.code for loss in losses] == ["python-task", "asked-value"]
    assert sagebridge.validate(sagebridge.write(pipeline, "sagemaker").text) == ()


def test_compared_result_becomes_a_parameter_of_that_type() -> None:
    number, flag = get("Steps.measure.return_value"), get("Steps.measure.return_value['ok']")
    check = ConditionStep(
        "Check",
        "Condition",
        arguments=EMPTY,
        conditions=(greater_than(number, 0.5), equals(flag, True)),
        if_steps=(model("Yes"), code("notify")),
        else_steps=(),
    )
    left, _ = without_carried(Pipeline(steps=(code("measure"), check)))
    types = {one.name: one.type for one in left.declared}
    assert types == {"measure": "Float", "measure_ok": "Boolean"}
    found = left.step("Check")
    assert isinstance(found, ConditionStep)
    assert [step.name for step in found.branches] == ["Yes"]


def test_parameter_has_the_type_of_the_place_where_it_is_used() -> None:
    """That of another parameter or result in a comparison, or of the argument of a function."""
    limit, cap = get("Parameters.Limit"), get("Parameters.Cap")
    use = Function("use", "def use(a: int, b: 'float | None', *, c: bool, d: list): ...")
    given = {
        "args": [get("Steps.pick.return_value['a']"), get("Steps.pick.return_value['b']")],
        "kwargs": {
            "c": get("Steps.pick.return_value['c']"),
            "d": get("Steps.pick.return_value['d']"),
        },
    }
    check = ConditionStep(
        "Check",
        "Condition",
        arguments=EMPTY,
        conditions=(
            greater_than(limit, get("Steps.pick.return_value['auc']")),
            equals(get("Steps.pick.return_value['rows']"), cap),
            equals(get("Steps.pick.return_value['b']"), 1),
        ),
        if_steps=(),
        else_steps=(),
    )
    pipeline = Pipeline(
        steps=(
            code("pick"),
            PythonStep.of(Step("use", PYTHON, plain(given)), use),
            check,
        ),
        parameters=(Parameter("Limit", "Float", 0.5), Parameter("Cap", "Integer", 3)),
    )
    left, _ = without(pipeline, [pipeline.steps[0]])
    assert {one.name: one.type for one in left.declared[2:]} == {
        "pick_a": "Integer",
        "pick_b": "Float",
        "pick_c": "Boolean",
        "pick_d": "String",
        "pick_auc": "Float",
        "pick_rows": "Integer",
    }


def test_long_names_get_distinct_parameters() -> None:
    long = "p" * 64
    values = [get(f"Steps.{long}.return_value['{key}']") for key in "abc"]
    left, _ = without_carried(Pipeline(steps=(code(long), model("A", join("-", *values)))))
    names = [one.name for one in left.declared]
    assert len(set(names)) == 3
    assert all(len(name) <= 64 for name in names)


def test_templates_and_settings_are_losses_for_sagemaker() -> None:
    settings = EngineSettings(retries=3, timeout=60, pool="heavy", trigger_rule="all_done")
    image = join("/", "host", template("{{ ds }}"), template("{{ run_id }}"))
    steps = (replace(model("A", image), engine=settings), model("B", template("{{ ds }}")))
    left, losses = without_carried(Pipeline(steps=steps, engine=EngineSettings(concurrency=1)))
    expected = join("/", "host", get("Parameters.ds"), get("Parameters.run_id"))
    assert left == Pipeline(
        steps=(model("A", expected), model("B", get("Parameters.ds"))), parameters=left.declared
    )
    assert [one.default for one in left.declared] == [ABSENT, ABSENT]
    assert [(loss.code, loss.severity, loss.place) for loss in losses] == [
        ("template", "changed", "A"),
        ("template", "changed", "A"),
        ("concurrency", "dropped", ""),
        ("retries", "dropped", "A"),
        ("timeout", "dropped", "A"),
        ("trigger-rule", "dropped", "A"),
        ("engine-option", "info", "A"),
    ]
    with pytest.raises(TypeError, match="a template in a definition"):
        write_value(image)


def test_code_comes_through_the_border_of_the_import_process() -> None:
    hook = Hook("failure", Function("alert", "def alert(context): ..."))
    settings = EngineSettings(2, [1, 2.5], tags=["a"], hooks=[hook], soft_fail=True)
    function = Function("f", "def f(): ...", module="import os\n\n\ndef f(): ...\n")
    given = plain({"args": [join("-", template("{{ ds }}"), "template-0")], "kwargs": {}})
    call = PythonStep("Code", PYTHON, given, origin="dag.py:7", function=function, role="gate")
    job = replace(model("Job", template("{{ ts }}")), engine=settings)
    aws = AwsCallStep("Aws", AWS_CALL, plain({"service": "s3"}), origin="dag.py:9")
    loop = ForEachStep("Loop", items=plain(["a"]), body=[replace(call, name="Inside")])
    pipeline = Pipeline(steps=(call, job, aws, loop))
    plain_pipeline, texts = without_templates(pipeline)
    parts = json.loads(json.dumps([definition(plain_pipeline), code_of(pipeline), texts]))
    back = sagebridge.read(parts[0]).pipeline
    found = with_code(with_templates(back, parts[2]), parts[1], "folder")
    assert found == pipeline
    assert found.steps[1].engine == settings
    assert [getattr(one, "origin", None) for one in found.steps] == [
        "folder:dag.py:7",
        None,
        "folder:dag.py:9",
        None,
    ]
