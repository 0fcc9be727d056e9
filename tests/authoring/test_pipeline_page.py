"""The documentation of the DAG of a pipeline."""

from __future__ import annotations

from sagebridge.authoring.pipeline_page import page
from sagebridge.model.conditions import less_than
from sagebridge.model.expressions import parameter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from tests.shapes import branch, fail, model, training


def test_page_has_description_parameters_and_steps() -> None:
    pipeline = Pipeline(
        name="ages",
        description="Fits *ages*.",
        parameters=(
            Parameter("InputData", "String", description="where | it <is>\nstored"),
            Parameter("Limit", "Float", 0.5),
            Parameter("Names", "String", "x" * 99),
        ),
        steps=(
            model("Prepare"),
            training("Train", depends_on=["Prepare"]),
            branch(
                "Check",
                less_than(parameter("Limit"), 1),
                model("Keep", "Prepare"),
                ForEachStep("Each", items=[1], body=(model("One"), model("Two", "One"))),
                otherwise=(fail("Stop"),),
                after=("Train",),
            ),
            model("Last```", after=("Check",)),
        ),
    )
    assert (
        page(pipeline)
        == rf"""Fits *ages*.

| parameter | type | default | description |
| --- | --- | --- | --- |
| InputData | String | required | where \| it &lt;is> stored |
| Limit | Float | 0.5 |  |
| Names | String | "{"x" * 56}... |  |

```text
Prepare          Model
Train            Training   after Prepare
Check            Condition  after Train
├─ if
│  ├─ Keep       Model      after Prepare
│  └─ Each       ForEach
│     └─ each item
│        ├─ One  Model
│        └─ Two  Model      after One
└─ else
   └─ Stop       Fail
Last'''          Model      after Check
```
"""
    )


def test_page_leaves_out_what_a_pipeline_lacks() -> None:
    stop = "```text\nStop  Fail\n```\n"
    assert page(Pipeline(steps=(fail("Stop"),))) == stop
    number = Parameter("N", "Integer", 1)
    table = "| parameter | type | default |\n| --- | --- | --- |\n| N | Integer | 1 |\n\n"
    assert page(Pipeline(steps=(fail("Stop"),), parameters=(number,))) == table + stop
