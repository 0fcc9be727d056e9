"""Everything that lists step types agrees with the table of step types."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sagebridge.model.step_types import OPERATOR_TYPES, STEP_TYPES, StepType
from sagebridge_operators import steps
from sagebridge_operators.backends import local
from sagebridge_operators.backends.local.local_job_type import LOCAL_KINDS, local_job_type
from sagebridge_operators.run_errors import NotRunnable
from sagebridge_operators.steps import PIPELINE_TYPES, RUNNABLE

ROOT = Path(__file__).parent.parent.parent
PROVIDER = ROOT / "adapters" / "sagebridge" / "formats" / "airflow" / "provider"
DEFINITIONS = ROOT / "tests" / "definitions"
UNKNOWN_TYPES = {"Athena"}
"""Types in tests/definitions that are intentionally not in the table."""


def problems(types: Mapping[str, StepType]) -> list[str]:
    """Files that lack a type of the table, or list a type that the table lacks."""
    shown = {name for name, row in types.items() if row.has_operator}
    functions = {row.function: name for name, row in types.items()}
    runs = {name for name, row in types.items() if name in RUNNABLE or row.makes == "nothing"}
    described = {STEP_TYPES[name].function: name for name in OPERATOR_TYPES}
    modules = _modules(local, "_job") - {"supervised"}
    found = {
        "README.md": (_readme("yes|no"), types.keys()),
        "README.md (on this machine)": (
            _readme("yes"),
            {name for name in runs if not types[name].needs_aws},
        ),
        "docs/prefect.md": (
            {described.get(word, word) for word in _functions()},
            shown,
        ),
        "tests/definitions": (set(_defined()) - UNKNOWN_TYPES, shown),
    }
    lists = [
        f"{place} {verb} {name}"
        for place, (there, wanted) in found.items()
        for verb, names in (("lacks", wanted - there), ("still has", there - wanted))
        for name in sorted(names)
    ]
    lists += [
        f"{place} still has {name}"
        for place, name in (*_provider(), *_steps(), *_local())
        if name not in types
    ]
    return lists + [
        f"backends/local/{name}_job.py is not named after a step type"
        for name in sorted(modules - functions.keys() - described.keys())
    ]


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _readme(here: str) -> set[str]:
    """The step types of README.md that run on AWS; ``here`` is their column "on this machine"."""
    pattern = rf"^\| (\w+(?:, \w+)*) \| yes \| (?:{here}) \|$"
    rows = re.finditer(pattern, _text("README.md"), re.MULTILINE)
    return {name for row in rows for name in row[1].split(", ")}


def _functions() -> set[str]:
    row = re.search(r"- One function per step type: (.+?);", _text("docs/prefect.md"), re.DOTALL)
    assert row, "docs/prefect.md lists no functions"
    return set(re.findall(r"`(\w+)`", row[1]))


def _defined() -> Iterator[str]:
    for path in DEFINITIONS.glob("*.json"):
        yield from _types(json.loads(path.read_text()).get("Steps"))


def _types(steps: Any) -> Iterator[str]:
    for step in steps or ():
        if isinstance(step, dict) and isinstance(step.get("Type"), str):
            yield step["Type"]
            arguments = step.get("Arguments") or {}
            yield from _types(arguments.get("IfSteps"))
            yield from _types(arguments.get("ElseSteps"))
            yield from _types(arguments.get("ForEachBody"))


def _provider() -> Iterator[tuple[str, str]]:
    """The step types that operators of the Amazon provider become."""
    positions = {"Step": 1, "ConditionStep": 1, "ConfigOperator": 0}
    for path in sorted(PROVIDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(name), args=arguments) if name in positions:
                    match arguments[positions[name]]:
                        case ast.Constant(str(type_)):
                            yield f"formats/airflow/provider/{path.name}", type_


def _steps() -> Iterator[tuple[str, str]]:
    return (("steps/", name) for name in PIPELINE_TYPES)


def _local() -> Iterator[tuple[str, str]]:
    return (("backends/local/", name) for name in LOCAL_KINDS)


def _modules(package: Any, end: str) -> set[str]:
    folder = Path(package.__path__[0])
    return {path.stem.removesuffix(end) for path in folder.glob(f"*{end}.py")}


def test_every_list_has_the_types_of_the_table() -> None:
    assert problems(STEP_TYPES) == []


def test_removed_row_is_reported_where_the_type_remains() -> None:
    rest = {name: row for name, row in STEP_TYPES.items() if name != "Training"}
    assert set(problems(rest)) == {
        "README.md (on this machine) still has Training",
        "README.md still has Training",
        "backends/local/ still has Training",
        "docs/prefect.md still has Training",
        "formats/airflow/provider/config_operators.py still has Training",
        "steps/ still has Training",
        "tests/definitions still has Training",
    }


def test_added_row_is_reported_where_the_type_is_missing() -> None:
    row = StepType(name="Compilation", summary="A Compilation step: CreateCompilationJob.")
    assert set(problems({**STEP_TYPES, "Compilation": row})) == {
        "README.md lacks Compilation",
        "docs/prefect.md lacks Compilation",
        "tests/definitions lacks Compilation",
    }


def test_modules_are_named_after_their_step_types() -> None:
    described = {STEP_TYPES[name].function for name in PIPELINE_TYPES}
    helpers = {
        "__init__",
        "aws_call",
        "check_baselines",
        "cleanup",
        "condition",
        "given_names",
        "job_type",
        "output_parameters",
        "permissions",
    }
    assert _modules(steps, "") - helpers == described
    assert all(local_job_type(kind).kind == kind for kind in LOCAL_KINDS)
    assert [kind for kind in LOCAL_KINDS if STEP_TYPES[kind].needs_aws] == []


def test_runnable_types_have_a_module_or_create_nothing() -> None:
    """A type that creates something but has no module cannot run yet."""
    assert RUNNABLE - PIPELINE_TYPES.keys() == {"Cleanup", "Condition", "Fail", "ForEach"}
    assert {row.name for row in STEP_TYPES.values() if row.runs} == RUNNABLE
    assert all(STEP_TYPES[name].makes != "nothing" for name in PIPELINE_TYPES)
    assert set(LOCAL_KINDS) <= {name for name, job in PIPELINE_TYPES.items() if job.stop}


def test_unknown_local_job_type_is_rejected() -> None:
    with pytest.raises(NotRunnable, match="AutoML jobs on this machine"):
        local_job_type("AutoML")


@pytest.mark.parametrize("row", STEP_TYPES.values(), ids=STEP_TYPES)
def test_row_is_consistent(row: StepType) -> None:
    members = set(row.members.values())
    assert {*row.required, *row.ignored} <= members
    assert set(row.takes) <= {"CacheConfig", "RetryPolicies", "PropertyFiles", "OutputParameters"}
    assert bool(row.check_types) == ("CheckType" in members)
