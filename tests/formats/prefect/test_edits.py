"""Edits of the committed flow, read back from its source without tracing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.authoring.definition_writer import definition as to_json
from sagebridge.errors import SourceError
from sagebridge.formats.prefect import reader
from sagebridge.model.code_removal import with_fail_steps
from sagebridge.model.engine_settings import EngineSettings, Hook
from sagebridge.model.functions import Function
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import same

FLOW = Path(__file__).parent.parent.parent.parent / "flows" / "abalone.py"
TEXT = FLOW.read_text()
DESCRIBED = '''"""Abalone.

    Args:
        InputData: where the
            animals are
    """'''


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(path: Path) -> Any:
        raise AssertionError(f"{path} was traced, which executes it")

    monkeypatch.setattr(reader, "trace_flows", trace)


def hook(event: str) -> Hook:
    """The hook ``print`` of a flow."""
    return Hook(event, Function("print", ""), "prefect")


def edited(
    tmp_path: Path, *changes: tuple[str, str], more: str = "", infos: Sequence[str] = ()
) -> Pipeline:
    """The pipeline of the flow file after these replacements; ``infos`` are its losses."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file = tmp_path / "abalone.py"
    file.write_text(text + more)
    pipeline, losses = sagebridge.read(file)
    assert [(one.code, one.severity) for one in losses] == [(code, "info") for code in infos]
    assert not [one for one in sagebridge.validate(file) if one.severity == "error"]
    return pipeline


def step(pipeline: Pipeline, name: str) -> Any:
    found = pipeline.step(name)
    assert found is not None
    return found


def test_committed_flow_equals_its_definition() -> None:
    definition = FLOW.parent.parent / "pipelines" / "abalone" / "definition.json"
    assert sagebridge.read(FLOW).pipeline == sagebridge.read(definition).pipeline


def test_changed_values(tmp_path: Path) -> None:
    pipeline = edited(
        tmp_path,
        ('"num_round": "50"', '"num_round": "0075"'),
        ("MseThreshold: float = 6.0", "MseThreshold: float = 5.5"),
    )
    assert step(pipeline, "AbaloneTrain").arguments["HyperParameters"]["num_round"] == "0075"
    assert pipeline.declared[-1].default == 5.5


def test_renamed_variables(tmp_path: Path) -> None:
    pipeline = edited(tmp_path, ("abalone_train", "trained"), ("abalone_mse_cond", "good"))
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))


def test_removed_step(tmp_path: Path) -> None:
    start = TEXT.index("        transform(\n")
    end = TEXT.index("    with abalone_mse_cond.unmet():")
    pipeline = edited(tmp_path, (TEXT[start:end], ""))
    assert [one.name for one in walk(pipeline)][-2:] == ["AbaloneCreateModel", "AbaloneMSEFail"]


def test_added_step_with_dependencies(tmp_path: Path) -> None:
    added = """
    processing("Report", arguments=abalone_arguments(), depends_on=[abalone_eval, "AbaloneTrain"])

    return finish()
"""
    helper = '''

def abalone_arguments():
    """A helper function."""
    resources = {"InstanceCount": 1, "InstanceType": SIZE, "VolumeSizeInGB": 2 * 15}
    return {
        "ProcessingResources": {"ClusterConfig": resources},
        "AppSpecification": {"ImageUri": f"{ACCOUNT}.dkr.ecr/image:1"},
        "RoleArn": "arn:aws:iam::111122223333:role/r",
    }


SIZE, ACCOUNT = "ml.t3.medium", 1234
'''.replace('SIZE, ACCOUNT = "ml.t3.medium", 1234', 'SIZE = "ml.t3.medium"\nACCOUNT = 1234')
    pipeline = edited(tmp_path, ("\n    return finish()\n", added), more=helper)
    report = step(pipeline, "Report")
    assert report.arguments["AppSpecification"] == {"ImageUri": "1234.dkr.ecr/image:1"}
    assert report.arguments["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 30
    assert set(graph(pipeline).predecessors("Report")) == {"AbaloneEval", "AbaloneTrain"}


def test_loop_over_a_literal(tmp_path: Path) -> None:
    added = """
    for size, count in [("small", 1), ("large", 4)]:
        model(
            f"Model-{size}",
            arguments={
                "ExecutionRoleArn": "arn:aws:iam::111122223333:role/r",
                "PrimaryContainer": {
                    "Image": "image",
                    "ModelDataUrl": abalone_train.properties.ModelArtifacts.S3ModelArtifacts,
                    "Environment": {"SIZE": size, "COUNT": f"{count}", "DATA": f"{InputData}/x"},
                },
            },
        )

    return finish()
"""
    pipeline = edited(tmp_path, ("\n    return finish()\n", added))
    large = step(pipeline, "Model-large").arguments["PrimaryContainer"]["Environment"]
    assert (large["SIZE"], large["COUNT"]) == ("large", "4")
    assert to_json(pipeline)["Steps"][-1]["Arguments"]["PrimaryContainer"]["Environment"][
        "DATA"
    ] == {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.InputData"}, "/x"]}}


def test_plain_if(tmp_path: Path) -> None:
    pipeline = edited(
        tmp_path,
        ("with abalone_mse_cond.met():", "if abalone_mse_cond:"),
        ("with abalone_mse_cond.unmet():", "else:"),
    )
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))
    pipeline = edited(
        tmp_path,
        ("with abalone_mse_cond.met():", "if abalone_mse_cond:"),
        ("with abalone_mse_cond.unmet():", "if not abalone_mse_cond:"),
    )
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))


def test_flow_arguments(tmp_path: Path) -> None:
    pipeline = edited(
        tmp_path,
        ('parameter("InputData")', "InputData"),
        (
            '    InputData: str = "s3://sagebridge-abalone/data/abalone-dataset.csv",',
            '    InputData: str = "s3://b/x",\n    Extra: int = 3,',
        ),
        ('"""AbalonePipeline."""', DESCRIBED),
    )
    assert [one.name for one in pipeline.declared].count("Extra") == 1
    data = next(one for one in pipeline.declared if one.name == "InputData")
    assert (data.default, data.description) == ("s3://b/x", "where the animals are")
    process = step(pipeline, "AbaloneProcess")
    assert process.arguments == step(sagebridge.read(FLOW).pipeline, "AbaloneProcess").arguments


def test_import_aliases(tmp_path: Path) -> None:
    pipeline = edited(
        tmp_path,
        ("from prefect import flow", "import prefect"),
        ("@flow(", "@prefect.flow("),
        ("    training,\n", "    training as train,\n"),
        ("= training(", "= train("),
    )
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))


@pytest.mark.parametrize(
    ("option", "settings", "lost"),
    [
        ("retries=3", {"retries": 3}, "retries"),
        ("timeout_seconds=60 * 60", {"timeout": 3600}, "timeout"),
        ("on_failure=[print]", {"hooks": (hook("failure"),)}, "callback"),
        ("retries=0", {"retries": 0}, ""),
    ],
)
def test_prefect_options_are_kept_for_engines(
    option: str, settings: dict[str, Any], lost: str, tmp_path: Path
) -> None:
    file = tmp_path / "abalone.py"
    file.write_text(TEXT.replace("@flow(", f"@flow({option}, "))
    pipeline, losses = sagebridge.read(file)
    assert (pipeline.engine.given, losses) == (settings, ())
    _, dropped = with_fail_steps(pipeline)
    assert [(one.code, one.severity) for one in dropped] == ([(lost, "dropped")] if lost else [])


def test_prefect_options_without_a_counterpart_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "abalone.py"
    file.write_text(TEXT.replace("@flow(", "@flow(log_prints=True, "))
    line = 1 + TEXT[: TEXT.index("@flow(")].count("\n")
    (lost,) = sagebridge.read(file).losses
    assert (lost.code, lost.severity, lost.place) == ("engine-option", "info", f"{file}:{line}")


def test_user_cancellation_hook_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "abalone.py"
    file.write_text(TEXT.replace("[stop_jobs]", "[stop_jobs, print]", 1))
    pipeline, losses = sagebridge.read(file)
    assert (pipeline.engine.hooks, losses) == ((hook("cancellation"),), ())
    other = TEXT.replace("[stop_jobs]", "[stop]").replace(
        "    stop_jobs,", "    stop_jobs as stop,"
    )
    file.write_text(other)
    pipeline, losses = sagebridge.read(file)
    assert (pipeline.engine.hooks, losses) == ((), ())


def test_two_flows_in_a_file(tmp_path: Path) -> None:
    second = """

@flow(name="second", retries=2, log_prints=True)
def other():
    fail("Stop", error_message="no", backend="local", retries=2, retry_delay_seconds=5)
    return finish()
"""
    file = tmp_path / "two.py"
    file.write_text(TEXT + second)
    with pytest.raises(SourceError, match=r"two.py#AbalonePipeline, .*two.py#second"):
        sagebridge.read(file)
    pipeline, losses = sagebridge.read(f"{file}#second")
    (stop,) = walk(pipeline)
    assert stop.name == "Stop"
    assert stop.engine == EngineSettings(retries=2, retry_delays=[5])
    assert pipeline.engine == EngineSettings(retries=2)
    line = len(TEXT.splitlines())
    assert [(loss.code, loss.severity, loss.place) for loss in losses] == [
        ("engine-option", "info", f"{file}:{line + 3}"),
        ("engine-option", "info", f"{file}:{line + 5}"),
    ]
    assert [one.name for one, _ in reader.read_all(str(file))] == ["AbalonePipeline", "second"]


@pytest.mark.parametrize(
    ("change", "line_of", "words"),
    [
        (
            ("property_files=[", "property_file=["),
            "abalone_eval = processing(",
            "no argument 'property_file'",
        ),
        (
            ('"AbaloneTrain",', '"AbaloneProcess",'),
            "abalone_train = training(",
            "two steps have the name 'AbaloneProcess'",
        ),
        (
            ('"AbaloneEval", "EvaluationReport"', '"EvaluationReport"'),
            "json_get(",
            "missing 1 required",
        ),
        (
            ("def abalone_pipeline(", "def abalone_pipeline(("),
            "def abalone_pipeline",
            "is not valid Python",
        ),
    ],
)
def test_error_has_the_line(
    change: tuple[str, str], line_of: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(TEXT.replace(*change, 1))
    line = next(n for n, text in enumerate(TEXT.splitlines(), 1) if line_of in text)
    with pytest.raises(SourceError) as raised:
        sagebridge.read(file, "prefect")
    assert str(raised.value).startswith(f"{file}:{line}: ")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "statement",
    [
        "ROUNDS['eta'] = '0.3'",
        "ROUNDS.update(eta='0.3')",
        "ROUNDS |= {'eta': '0.3'}",
        "if len('x'):\n    ROUNDS = {}",
        "for ROUNDS in ({}, {}): pass",
        "change(ROUNDS)",
        "changed = ROUNDS.pop('num_round')",
        "def change():\n    global ROUNDS\n    ROUNDS = {}\n\nchange()",
    ],
)
def test_changed_constant_needs_tracing(statement: str, tmp_path: Path) -> None:
    constant = "\n\nROUNDS = {'num_round': '50'}\n"
    use = ('"num_round": "50"', "**ROUNDS")
    assert same(
        to_json(edited(tmp_path, use, more=constant)), to_json(sagebridge.read(FLOW).pipeline)
    )
    with pytest.raises(AssertionError, match="was traced"):
        edited(tmp_path, use, more=f"{constant}{statement}\n")


GROWING = {
    "number": ("9999", "{0}*{0}"),
    "text": ("'x' + 'y'", "{0} + {0}"),
    "f-string": ("'xy'", "f'{{{0}}}{{{0}}}'"),
    "list": ("['x']", "[*{0}, *{0}]"),
    "lists of one list": ("['x']", "[{0}, {0}]"),
}


@pytest.mark.parametrize("way", GROWING)
def test_huge_constant_needs_tracing(way: str, tmp_path: Path) -> None:
    first, next_ = GROWING[way]
    lines = [f"A0 = {first}", *(f"A{at + 1} = {next_.format(f'A{at}')}" for at in range(50))]
    more = "\n".join(("", *lines, "ROUNDS = '50'", ""))
    pipeline = edited(tmp_path, ('"num_round": "50"', '"num_round": ROUNDS'), more=more)
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))
    with pytest.raises(AssertionError, match="was traced"):
        edited(tmp_path, ('"num_round": "50"', '"num_round": A50'), more=more)


def test_long_loops_need_tracing(tmp_path: Path) -> None:
    loops = "".join(f"{'    ' * at}for x{at} in range_:\n" for at in range(1, 13))
    step = "    abalone_process = processing("
    text = f"    range_ = ['x', 'y', 'z', 'u', 'v']\n{loops}{'    ' * 13}pass\n{step}"
    with pytest.raises(AssertionError, match="was traced"):
        edited(tmp_path, (step, text))


def test_other_statements_keep_constants(tmp_path: Path) -> None:
    more = """

import sys

ROUNDS = {"num_round": "50"}
sys.path.append("/opt/flows")

if __name__ == "__main__":
    ROUNDS["num_round"] = "1"
    abalone_pipeline()
"""
    pipeline = edited(
        tmp_path, ('"num_round": "50"', "**ROUNDS"), more=more, infos=["module-statement"]
    )
    assert same(to_json(pipeline), to_json(sagebridge.read(FLOW).pipeline))


VALUE = '"num_round": "50"'
FIRST = '        "AbaloneTrain",\n'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (VALUE, '"num_round": abalone_process', "StepHandle is not a pipeline value"),
        (VALUE, '"num_round": abalone_process.properties.A[-1]', "position of at least 0, got -1"),
        (VALUE, '"num_round": ...', "ellipsis is not a pipeline value"),
        (FIRST, FIRST + '        depends_on="AbaloneProcess",\n', "depends_on: expected a list"),
        (FIRST, FIRST + "        retry_policies=[{}],\n", "expected a RetryPolicy, got {}"),
        (FIRST, FIRST + "        cache_config={},\n", "expected a CacheConfig"),
    ],
)
def test_invalid_argument_is_rejected(old: str, new: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(SourceError, match=words) as raised:
        sagebridge.read(file, "prefect")
    assert str(raised.value).startswith(f"{file}:")


def test_python_boolean_as_condition_is_rejected(tmp_path: Path) -> None:
    start = TEXT.index("less_than_or_equal_to(\n")
    file = tmp_path / "wrong.py"
    file.write_text(f"{TEXT[:start]}True, {TEXT[start:]}")
    with pytest.raises(SourceError, match=r"expected a condition .*, got True"):
        sagebridge.read(file, "prefect")


def test_renamed_step(tmp_path: Path) -> None:
    pipeline = edited(
        tmp_path,
        ('        "AbaloneEval",\n', '        "Judge",\n'),
        ('"AbaloneEval", "EvaluationReport"', 'abalone_eval, "EvaluationReport"'),
    )
    assert ("Judge", "AbaloneMSECond") in graph(pipeline).edges


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        sagebridge.read(tmp_path / "none.py", "prefect")


def test_finding_has_the_line_of_the_step(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        TEXT.replace(
            "abalone_create_model.properties.ModelName", 'get("Steps.Nope.ModelName")'
        ).replace("    fail,", "    fail,\n    get,")
    )
    findings = [one for one in sagebridge.validate(file) if one.severity == "error"]
    (line,) = [
        n for n, text in enumerate(file.read_text().splitlines(), 1) if " transform(" in text
    ]
    assert [(one.line, "Nope" in one.message) for one in findings] == [(line, True)]
