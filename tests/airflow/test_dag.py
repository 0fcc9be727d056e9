"""Pipelines as DAGs: tasks, edges, Params; folders of definitions."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Label, Param

import sagebridge
from sagebridge.authoring.dag_pipeline import pipeline_of
from sagebridge.authoring.pipeline_page import page
from sagebridge.model.expressions import plain
from sagebridge.model.graph import hidden_failures
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Parallelism, Pipeline, Step, walk
from sagebridge.model.values import ABSENT, thaw
from sagebridge_operators.airflow import (
    ConditionOperator,
    FailOperator,
    ForEachOperator,
    StepOperator,
    build,
    load_folder,
)
from sagebridge_operators.airflow.step_operators import OPERATORS
from sagebridge_operators.airflow.trigger_gates import GateOperator
from sagebridge_operators.steps import RUNNABLE
from tests.dagtest import dagbags, migrated
from tests.shapes import fail, model

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
CHECKOUT = Path(__file__).parent.parent.parent


def bag_of(folder: Path) -> Any:
    migrated()
    return dagbags().DagBag(dag_folder=str(folder))


def served(dag: DAG) -> Any:
    """The serialized DAG, as the scheduler and the UI see it."""
    module: Any = import_module("airflow.serialization.serialized_objects")
    serialization = getattr(module, "DagSerialization", None) or module.SerializedDAG
    return serialization.from_dict(json.loads(json.dumps(serialization.to_dict(dag))))


def test_every_runnable_step_type_has_an_operator() -> None:
    assert set(OPERATORS) | {"Condition", "ForEach"} >= RUNNABLE


def test_none_branch_is_absent() -> None:
    with DAG("d"):
        gate = ConditionOperator(task_id="Gate", conditions=[], if_steps=None, else_steps=None)

    assert not gate.downstream_task_ids
    assert gate.step == ConditionStep("Gate", conditions=(), if_steps=ABSENT, else_steps=ABSENT)


def test_steps_created_in_the_blocks_of_a_condition_are_its_branches() -> None:
    with DAG("d") as dag:
        gate = ConditionOperator(task_id="Gate", conditions=[])
        with gate.met():
            inner = ConditionOperator(task_id="Inner", conditions=[], else_steps=[])
            with inner.met(), ForEachOperator(task_id="Each", items=[1]):
                StepOperator(task_id="Body", step_type="Training")
            FailOperator(task_id="Stop", error_message="no")
        StepOperator(task_id="Outside", step_type="Training")

    (each,) = inner.step.if_steps or ()
    assert gate.step.else_steps is ABSENT
    assert (inner.step.else_steps, [one.name for one in each.inner]) == ((), ["Body"])
    assert [one.name for one in gate.step.if_steps or ()] == ["Inner", "Stop"]
    assert gate.downstream_task_ids == {"Inner", "Stop"}
    assert inner.downstream_task_ids == {"Each_items"}
    assert dag.get_edge_info("Gate", "Stop")["label"] == "If"


def test_definitions_become_dags_with_same_steps_and_edges(definition: Path, edges: Path) -> None:
    pipeline = sagebridge.read(definition).pipeline
    dag = build(pipeline, dag_id="d")
    watch = {"watch_failures"} if hidden_failures(pipeline) else set()
    loops = {f"{step.name}_items": step for step in walk(pipeline) if step.type == "ForEach"}
    gates = {task.task_id: task.watched for task in dag.tasks if isinstance(task, GateOperator)}
    own = set(dag.task_ids) - gates.keys()
    assert own == {step.name for step in walk(pipeline)} | watch | loops.keys()
    names = {one: one for one in own} | {one: step.name for one, step in loops.items()} | gates
    # The last task of a ForEach waits for its first task and its body, which are parts of it.
    bodies = {(step.name, one.name) for step in loops.values() for one in step.inner}
    ends = {(one, loop) for loop, one in bodies} | {(one.name, one.name) for one in loops.values()}
    found = {
        (names[task.task_id], names[down])
        for task in dag.tasks
        for down in task.downstream_task_ids - watch - gates.keys()
    }
    expected = {(source, target) for source, target in json.loads(edges.read_text())}
    assert found - ends == expected - (bodies - found)
    assert set(served(dag).task_ids) == set(dag.task_ids)
    assert pipeline_of(dag) == pipeline


def test_condition_labels_branch_edges() -> None:
    check = ConditionStep(
        "Check", "Condition", conditions=(), if_steps=(model("Yes"),), else_steps=(model("No"),)
    )
    dag = build(Pipeline(steps=(check,)), dag_id="d")
    labels = {name: dag.get_edge_info("Check", name)["label"] for name in ("Yes", "No")}
    assert labels == {"Yes": "If", "No": "Else"}


PARAMETERS = (
    Parameter("Text", "String", "0123", description="Any text"),
    Parameter("Choice", "String", "b", ("a", "b")),
    Parameter("Whole", "Integer", 3),
    Parameter("Real", "Float", 6.0),
    Parameter("Yes", "Boolean", True),
    Parameter("Untyped", default="x"),
    Parameter("Required", "Integer"),
    Parameter("Empty", "String", ""),
    Parameter("Any", "String", "b", ("", "b")),
)


def test_parameters_become_params_with_type_and_default() -> None:
    params = build(Pipeline(steps=(), parameters=PARAMETERS), dag_id="d").params
    schemas = {name: params.get_param(name).schema for name in params}
    assert params.get_param("Text").description == "Any text"
    assert schemas == {
        "Text": {"type": "string"},
        "Choice": {"type": "string", "enum": ["a", "b"]},
        "Whole": {"type": "integer"},
        "Real": {"type": "number"},
        "Yes": {"type": "boolean"},
        "Untyped": {"type": "string"},
        "Required": {"type": "integer"},
        "Empty": {"type": ["string", "null"]},
        "Any": {"type": ["string", "null"], "enum": ["", "b", None]},
    }
    values = {name: params.get_param(name).value for name in params if name != "Required"}
    assert repr(values) == repr(
        {"Text": "0123", "Choice": "b", "Whole": 3, "Real": 6.0, "Yes": True, "Untyped": "x"}
        | {"Empty": "", "Any": "b"}
    )
    assert not params.get_param("Required").has_value


def test_form_shows_description_choices_and_required() -> None:
    params = served(build(Pipeline(steps=(), parameters=PARAMETERS), dag_id="d")).params
    assert params.get_param("Text").description == "Any text"
    assert params.get_param("Choice").schema["enum"] == ["a", "b"]
    assert params.get_param("Required").schema == {"type": "integer"}


def test_form_accepts_each_param_with_a_default() -> None:
    """The trigger button is enabled unless a param that may not be null has no value or ""."""
    params = build(Pipeline(steps=(), parameters=PARAMETERS), dag_id="d").params
    missing = [
        name
        for name in params
        if "null" not in params.get_param(name).schema["type"]
        and (not params.get_param(name).has_value or params.get_param(name).value in (None, ""))
    ]
    assert missing == ["Required"]


def test_empty_strings_come_back_exactly() -> None:
    pipeline = Pipeline(steps=(model("A"),), parameters=PARAMETERS)
    assert pipeline_of(build(pipeline, dag_id="d")).parameters == PARAMETERS


@pytest.mark.parametrize(("limit", "active"), [(None, 3), (2, 2)])
def test_parallelism_limit_becomes_max_active_tasks(limit: int | None, active: int) -> None:
    steps = (model("A"), model("B"), model("C"))
    more: dict[str, Any] = {"parallelism": Parallelism(limit)} if limit else {}
    assert build(Pipeline(steps=steps, **more), dag_id="d").max_active_tasks == active


def test_display_name_and_description_reach_the_task() -> None:
    step = Step("A", "Fail", arguments=plain({}), display_name="The A", description="**Why**")
    (task,) = build(Pipeline(steps=(step,)), dag_id="d").tasks
    assert (task.task_display_name, task.doc_md) == ("The A", "**Why**")


def test_retries_are_those_of_the_user() -> None:
    dag = build(Pipeline(steps=(model("A"), fail("B"))), dag_id="d")
    assert {task.task_id: task.retries for task in dag.tasks} == {"A": 0, "B": 0}


def test_references_link_operators_in_hand_written_dag() -> None:
    with DAG("d", schedule=None, params={"P": Param(1, type="integer")}) as dag:
        late = StepOperator(
            task_id="late", step_type="Model", arguments={}, depends_on=["early", "other"]
        )
        early = StepOperator(task_id="early", step_type="Model", arguments={})
        other = StepOperator(task_id="other", step_type="Model", depends_on=[early])
        StepOperator(task_id="last", step_type="Model", arguments={"x": [late.properties.A["b"]]})
        other >> Label("kept") >> late
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "late": {"early", "other"},
        "early": set(),
        "other": {"early"},
        "last": {"late"},
    }


@pytest.mark.parametrize("file", ["pipelines.py", "abalone.py"])
def test_project_dag_files_import(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAGEBRIDGE_PIPELINES", raising=False)
    bag = bag_of(CHECKOUT / "dags" / file)
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    source = sagebridge.read(CHECKOUT / "pipelines" / "abalone" / "definition.json").pipeline
    assert pipeline_of(dag).steps == source.steps
    assert served(dag).doc_md == page(source)


def test_dag_keeps_its_own_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.json").write_text(minimal())
    text = "from airflow.sdk import DAG\nfrom sagebridge_operators.airflow import *\n"
    file = tmp_path / "dags.py"
    file.write_text(
        f"{text}load_folder('.', globals(), dag_args={{'doc_md': 'Ask Ada.'}})\n"
        "with DAG('hand_written', schedule=None):\n"
        "    FailOperator(task_id='stop', error_message='x')\n"
    )
    monkeypatch.chdir(tmp_path)
    bag = bag_of(file)
    assert bag.import_errors == {}
    assert {name: dag.doc_md for name, dag in bag.dags.items()} == {
        "one": "Ask Ada.",
        "hand_written": None,
    }


def minimal(**members: Any) -> str:
    steps = [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": "x"}}]
    return json.dumps({"Version": "2020-12-01", "Steps": steps, **members})


def loader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads a folder of definitions with dags/pipelines.py."""
    monkeypatch.setenv("SAGEBRIDGE_PIPELINES", str(folder))
    return bag_of(CHECKOUT / "dags" / "pipelines.py")


def test_load_folder_builds_one_dag_per_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.json").write_text(minimal())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "definition.json").write_text(minimal())
    (tmp_path / "document.json").write_text(
        json.dumps({"PipelineName": "named", "PipelineDefinition": minimal()})
    )
    bag = loader(tmp_path, monkeypatch)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"one", "two", "named"}


BROKEN = {
    "cut-off": '{"Version": "2020-12-01", "Steps": [',
    "empty": "",
    "no-pipeline": "[1, 2]",
    "binary": "\x00\x01",
    "twice": minimal(Steps=[{"Name": "A", "Type": "Fail", "Arguments": {}}] * 2),
    "alike": minimal(
        Steps=[{"Name": name, "Type": "Fail", "Arguments": {}} for name in ("A b", "A/b")]
    ),
    "cycle": minimal(
        Steps=[
            {"Name": one, "Type": "Fail", "Arguments": {}, "DependsOn": [other]}
            for one, other in (("A", "B"), ("B", "A"))
        ]
    ),
    "default": minimal(Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": "x"}]),
    "choice": minimal(
        Parameters=[{"Name": "N", "Type": "String", "DefaultValue": "x", "EnumValues": ["a"]}]
    ),
    "parameters": minimal(Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": 1}] * 2),
}


def test_broken_definition_becomes_failing_dag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.json").write_text(minimal())
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.json").write_text(text)
    bag = loader(tmp_path, monkeypatch)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"good", *BROKEN}
    for name in BROKEN:
        dag = bag.dags[name]
        assert "broken" in dag.tags, name
        (task,) = dag.tasks
        assert len(task.step.arguments["ErrorMessage"]) > 20
        assert dag.doc_md.strip() == task.step.arguments["ErrorMessage"]
    assert "broken" not in bag.dags["good"].tags


def test_duplicate_definition_names_give_two_dags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("a", "b", "c"):
        document = {"PipelineName": "same", "PipelineDefinition": minimal()}
        (tmp_path / f"{file}.json").write_text(json.dumps(document))
    bag = loader(tmp_path, monkeypatch)
    assert len(bag.dags) == 3
    assert sum("broken" in dag.tags for dag in bag.dags.values()) == 2


def test_building_a_dag_executes_no_definition_strings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "{{ ''.__class__.__mro__ }}{% for x in range(9) %}x{% endfor %}\"\"\"'''\\"
    members = {"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": evil}}
    texts = {"DisplayName": evil, "Description": f"{CHECKOUT}/README.md"}
    (tmp_path / "evil.json").write_text(
        minimal(
            Steps=[{**members, **texts}],
            Parameters=[{"Name": "P", "Type": "String", "DefaultValue": evil, "Description": evil}],
        )
    )
    bag = loader(tmp_path, monkeypatch)
    assert bag.import_errors == {}
    (task,) = bag.dags["evil"].tasks
    assert task.step.arguments["ErrorMessage"] == evil
    assert task.doc_md == f"{CHECKOUT}/README.md"
    assert bag.dags["evil"].params["P"] == evil


def test_build_passes_operator_args(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(minimal())
    (dag,) = load_folder(tmp_path, {}, backend="local", region_name="eu-west-1")
    (task,) = dag.tasks
    assert isinstance(task, StepOperator)
    assert (task.backend, task.region_name) == ("local", "eu-west-1")
    assert thaw(task.step.arguments) == {"ErrorMessage": "x"}


def test_build_passes_dag_args(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(minimal())
    (dag,) = load_folder(tmp_path, {}, dag_args={"schedule": "@daily", "tags": ["nightly"]})
    assert str(dag.schedule) == "@daily"
    assert dag.tags == {"sagebridge", "nightly"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nonsense": 1}, "load_folder() has no argument 'nonsense'"),
        ({"bakend": "aws"}, "load_folder() has no argument 'bakend' (did you mean 'backend'?)"),
        ({"schedule": "@daily"}, "pass it in dag_args={'schedule': ...}"),
        ({"tags": ["x"]}, "pass it in dag_args={'tags': ...}"),
        ({"dag_args": {"shedule": None}}, "'shedule' (did you mean 'schedule'?)"),
        ({"dag_args": {"params": {}}}, "load_folder(): dag_args has no argument 'params'"),
    ],
)
def test_load_folder_rejects_unknown_arguments(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError) as raised:
        load_folder(tmp_path, {}, **given)
    assert message in str(raised.value)


class Reads:
    """Counts how often each file is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[str] = []
        read = sagebridge.read_checked

        def counted(source: str, *more: Any) -> Any:
            self.files.append(Path(source).stem)
            return read(source, *more)

        monkeypatch.setattr(sagebridge, "read_checked", counted)

    def of(self, call: Any) -> list[str]:
        """The files that are read during a call."""
        self.files.clear()
        call()
        return self.files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def asks_for(dag_id: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Airflow parse the file for one DAG, as it does when a task starts."""
    if dag_id is None:
        monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    else:
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)


def folder_of_many(folder: Path) -> None:
    for number in range(20):
        (folder / f"p{number}x.json").write_text(minimal())
    document = {"PipelineName": "named", "PipelineDefinition": minimal()}
    (folder / "document.json").write_text(json.dumps(document))
    (folder / "broken.json").write_text("{")


@pytest.mark.parametrize(
    ("dag_id", "file"),
    [("p7x", "p7x"), ("named", "document"), ("broken", "broken")],
)
def test_task_start_builds_only_its_dag(
    dag_id: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    folder_of_many(tmp_path)
    asks_for(dag_id, monkeypatch)
    names: dict[str, Any] = {}
    assert reads.of(lambda: load_folder(tmp_path, names)) == [file]
    assert [dag.dag_id for dag in names.values()] == [dag_id]


def test_task_of_renamed_duplicate_finds_its_dag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("a", "b"):
        document = {"PipelineName": "same", "PipelineDefinition": minimal()}
        (tmp_path / f"{file}.json").write_text(json.dumps(document))
    asks_for("same-2", monkeypatch)
    assert "same-2" in [dag.dag_id for dag in load_folder(tmp_path, {})]


def test_unchanged_files_are_read_once(tmp_path: Path, reads: Reads) -> None:
    folder_of_many(tmp_path)
    assert len(reads.of(lambda: load_folder(tmp_path, {}))) == 22
    assert reads.of(lambda: load_folder(tmp_path, {})) == []
    (tmp_path / "p3x.json").write_text(minimal(Metadata={"changed": True}))
    assert reads.of(lambda: load_folder(tmp_path, {})) == ["p3x"]
