"""Selected steps: paths, branches, and values in place of other steps' outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import sagebridge
from sagebridge.errors import SelectionError, TranslationError
from sagebridge.model.expressions import Get, JsonGet, references
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import ConditionStep, Pipeline, step_references, walk
from sagebridge.model.selection import closed, needed, path_of, selected
from sagebridge.model.values import same
from tests.definition import REPORT, equals, gate, get, output_of, processing, step, uses
from tests.pipelines import definitions

REPORTED = {
    "Std:JsonGet": {"PropertyFile": {"Get": "Steps.Eval.PropertyFiles.Report"}, "Path": "mse"}
}


def read(*steps: Any) -> Pipeline:
    return sagebridge.read({"Version": "2020-12-01", "Steps": list(steps)}).pipeline


def names(pipeline: Pipeline) -> list[str]:
    return [one.name for one in walk(pipeline)]


def chain() -> Pipeline:
    """Data, then Eval with a report, then a gate with a branch, and a step after the gate."""
    return read(
        step("Data"),
        processing("Eval", REPORT, DependsOn=["Data"]),
        gate(
            equals(REPORTED, 1), then=[uses(output_of("Data"), "Use")], other=[step("No", "Fail")]
        ),
        step("Last", DependsOn=["Gate", "Data"]),
    )


def test_selected_steps_keep_their_order_and_dependencies() -> None:
    found = sagebridge.select(chain(), ["Last", "Gate"], {"Steps.Eval.PropertyFiles.Report": "x"})

    assert names(found) == ["Gate", "Last"]
    assert found.steps[1].dependencies == ("Gate",)
    condition = found.steps[0]
    assert isinstance(condition, ConditionStep)
    assert (condition.if_steps, condition.else_steps) == ((), ())


def test_a_value_takes_the_place_of_a_property() -> None:
    value = {"a": [1, 2.0, None]}
    found = sagebridge.select(chain(), ["Use"], {output_of("Data")["Get"]: value})

    written = sagebridge.write(found, "sagemaker").text
    assert "Steps.Data" not in written
    (use,) = sagebridge.read(written).pipeline.steps
    assert not list(step_references(use))
    assert any(same(node, value) for node in use.arguments.values())


def test_the_uri_of_a_property_file_takes_its_place() -> None:
    report = "s3://bucket/evaluation.json"
    found = sagebridge.select(chain(), ["Gate"], {"Steps.Eval.PropertyFiles.Report": report})

    written = sagebridge.write(found, "sagemaker").text
    again = sagebridge.read(written).pipeline.steps[0]
    assert isinstance(again, ConditionStep)
    assert again.conditions
    assert again.conditions[0].left == JsonGet("mse", s3_uri=report)  # type: ignore[union-attr]


def test_spellings_of_a_reference_are_the_same_value() -> None:
    pipeline = read(step("A"), uses(get("Steps.A.OutputParameters['o']"), "B"))

    found = sagebridge.select(pipeline, ["B"], {'Steps["A"].OutputParameters.o': "x"})

    assert not needed(found, ["B"])


def test_a_step_of_a_branch_runs_without_its_condition() -> None:
    found = sagebridge.select(chain(), ["Use"], {output_of("Data")["Get"]: 1})

    assert [one.name for one in found.steps] == ["Use"]


def test_a_condition_keeps_the_selected_steps_of_its_branches() -> None:
    values = {"Steps.Eval.PropertyFiles.Report": "s3://b/k", output_of("Data")["Get"]: 1}
    found = sagebridge.select(chain(), ["Gate", "Use"], values)

    assert isinstance(condition := found.steps[0], ConditionStep)
    assert [one.name for one in condition.if_steps or ()] == ["Use"]
    assert condition.else_steps == ()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            ["Data", "Gate"],
            (
                "step 'Eval' must be selected too, on a path between selected steps; use: --steps "
                "Data,Eval,Gate"
            ),
        ),
        (["Eval", "Use"], "use: --steps Eval,Gate,Use"),
        (["Evl", "Zzz"], "no step 'Evl' (did you mean 'Eval'?)\nno step 'Zzz' (the pipeline has"),
        ([], "no step is selected"),
        (
            ["Use", "Gate"],
            (
                "Steps.Eval.PropertyFiles.Report has no value, as step 'Eval' is not selected\n"
                "Steps.Data.OutputParameters['o'] has no value"
            ),
        ),
    ],
)
def test_problems(steps: list[str], message: str) -> None:
    with pytest.raises(SelectionError) as raised:
        sagebridge.select(chain(), steps)

    assert message in str(raised.value)


@given(definitions(), st.data())
def test_any_selection(definition: Any, data: st.DataObject) -> None:
    """Selected steps keep order and everything but what they refer to of other steps."""
    try:
        pipeline = sagebridge.read(definition).pipeline
    except TranslationError:
        reject()
    every = names(pipeline)
    assume(every)
    wanted = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    try:
        chosen = closed(pipeline, wanted)
    except SelectionError as refused:
        (text,) = refused.problems
        chosen = closed(pipeline, [one for one in every if one in set(_between(pipeline, wanted))])
        assert text.endswith(f"--steps {','.join(chosen)}")
    replaced: list[Get | JsonGet] = []

    def find(expression: Get | JsonGet) -> Any:
        replaced.append(expression)
        return "value"

    found = selected(pipeline, chosen, find)

    assert names(found) == _flat(pipeline, chosen)
    assert {one.step for one in _all(found)} <= {None, *chosen}
    assert not needed(found, chosen)
    paths = {path_of(one) for one in needed(pipeline, chosen)}
    assert {path_of(one) for one in replaced if isinstance(one, Get)} <= paths
    again = selected(found, chosen, find)
    assert again == found
    for one in walk(found):
        before = pipeline.step(one.name)
        assert before is not None
        assert set(one.dependencies) == set(before.dependencies) & set(chosen)
        kept = ("type", "retry_policies", "cache_config", "property_files", "display_name")
        assert all(same(getattr(one, name), getattr(before, name)) for name in kept)
    known = all(set(one.dependencies) <= set(every) for one in walk(pipeline))
    if set(chosen) == set(every) and known and not replaced:
        assert found.steps == pipeline.steps


def _all(pipeline: Pipeline) -> list[Get]:
    return [
        one for step_ in walk(pipeline) for value in step_.values() for one in references(value)
    ]


def _between(pipeline: Pipeline, wanted: list[str]) -> set[str]:
    """The steps on paths between selected ones, by networkx."""
    import networkx as nx

    edges = graph(pipeline)
    below = set().union(*(nx.descendants(edges, one) for one in wanted))
    above = set().union(*(nx.ancestors(edges, one) for one in wanted))
    return set(wanted) | (below & above)


def _flat(pipeline: Pipeline, chosen: tuple[str, ...]) -> list[str]:
    return [one for one in names(pipeline) if one in chosen]
