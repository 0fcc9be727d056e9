"""Hypothesis strategies for pipeline definitions with every construct, and for arbitrary JSON."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(
    alphabet=st.characters(codec=None, categories=None, exclude_categories=()), max_size=12
)
"""Any code points, including lone surrogates and control characters."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30, max_value=10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
)
NAMES = st.sampled_from(("A", "B", "Train", "Eval_2", "Gate-3", "Stop", "Sonnet", "K9"))
WORDS = st.sampled_from(
    (
        "Get",
        "Std:Join",
        "Std:JsonGet",
        "On",
        "Values",
        "Path",
        "PropertyFile",
        "S3Uri",
        "Name",
        "Type",
        "Arguments",
        "Conditions",
        "IfSteps",
        "ElseSteps",
        "DependsOn",
        "RetryPolicies",
        "ExceptionType",
        "CacheConfig",
        "Enabled",
        "ExpireAfter",
        "PropertyFiles",
        "OutputParameters",
        "OutputName",
        "Condition",
        "DisplayName",
        "LeftValue",
        "QueryValue",
        "In",
        "Value",
        "IterableItems",
        "MaxConcurrency",
        "Selector",
        "Pick",
        "Field",
        "ForEachBody",
    )
)
"""Meaningful keys, which make arbitrary JSON similar to a definition."""


def json_values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    return st.recursive(
        SCALARS | WORDS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(WORDS | TEXT, inner, max_size=4)
        ),
        max_leaves=max_leaves,
    )


def paths() -> st.SearchStrategy[str]:
    """References in every spelling: keys, both quotes, positions, and invalid paths."""
    part = st.sampled_from(
        (".S3Uri", "['x']", '["x"]', "['a.b:c']", '["it\'s"]', "[0]", "[007]", ".PropertyFiles.F")
    )
    rest = st.lists(part, max_size=3).map("".join)
    return st.one_of(
        st.builds("Steps.{}{}".format, NAMES, rest),
        st.builds('Steps["{}"]{}'.format, NAMES, rest),
        st.builds("Parameters.{}".format, NAMES),
        st.sampled_from(("Execution.PipelineExecutionId", "PipelineExperimentConfig.TrialName")),
        st.sampled_from(
            ("ForEach.Item", "Steps", "Steps.", "Steps.A[", "Steps.A[9" + "9" * 30 + "]")
        ),
        st.builds("ForEach.CurrentItem{}".format, rest),
        st.builds("IterationOutput.{}{}".format, NAMES, rest),
        st.builds("Steps.{}.IterationOutputs[0].{}{}".format, NAMES, NAMES, rest),
        TEXT,
    )


def expressions() -> st.SearchStrategy[Any]:
    get = paths().map(lambda path: {"Get": path})
    value = st.recursive(
        SCALARS | get,
        lambda inner: st.one_of(
            st.fixed_dictionaries(
                {"Values": st.lists(inner, max_size=3)},
                optional={"On": st.just("/") | SCALARS, "Odd": SCALARS},
            ).map(lambda join: {"Std:Join": join}),
            st.fixed_dictionaries({"S3Uri": inner, "Path": TEXT}, optional={"Odd": SCALARS}).map(
                lambda read: {"Std:JsonGet": read}
            ),
            st.lists(inner, max_size=3),
            st.dictionaries(TEXT, inner, max_size=3),
        ),
        max_leaves=6,
    )
    file = st.builds("Steps.{}.PropertyFiles.{}".format, NAMES, NAMES)
    return value | st.fixed_dictionaries(
        {"PropertyFile": file.map(lambda path: {"Get": path}), "Path": st.just("a.b[0]")}
    ).map(lambda read: {"Std:JsonGet": read})


def conditions() -> st.SearchStrategy[Any]:
    two = {"LeftValue": expressions(), "RightValue": expressions()}
    compared = ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "NotEquals", "Odd")
    one = st.one_of(
        st.fixed_dictionaries({"Type": st.sampled_from(compared), **two}),
        st.fixed_dictionaries(
            {
                "Type": st.sampled_from(("In", "NotIn")),
                "QueryValue": expressions(),
                "Values": st.lists(expressions(), max_size=2),
            }
        ),
        st.fixed_dictionaries(
            {
                "Type": st.sampled_from(("In", "NotIn")),
                "Value": expressions(),
                "In": st.lists(expressions(), max_size=2),
            }
        ),
    )
    return st.recursive(
        one,
        lambda inner: st.one_of(
            inner.map(lambda condition: {"Type": "Not", "Condition": condition}),
            st.lists(inner, max_size=2).map(lambda many: {"Type": "Or", "Conditions": many}),
        ),
        max_leaves=4,
    )


def retry_policies() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "ExceptionType": st.one_of(
                st.just("Step.THROTTLING"),
                st.lists(st.sampled_from(("Step.SERVICE_FAULT", "SageMaker.CAPACITY_ERROR"))),
            )
        },
        optional={
            "IntervalSeconds": st.integers(0, 50000),
            "BackoffRate": st.floats(0, 5),
            "MaxAttempts": st.integers(-1, 25),
            "ExpireAfterMin": SCALARS,
            "Odd": SCALARS,
        },
    )


_OPTIONAL: dict[Any, st.SearchStrategy[Any]] = {
    "DependsOn": st.lists(NAMES, max_size=3),
    "DisplayName": TEXT,
    "Description": TEXT | st.none(),
    "CacheConfig": st.fixed_dictionaries(
        {"Enabled": st.booleans()}, optional={"ExpireAfter": st.sampled_from(("30d", "PT1H", "x"))}
    ),
    "RetryPolicies": st.lists(retry_policies(), max_size=2),
    "PropertyFiles": st.lists(
        st.fixed_dictionaries(
            {"PropertyFileName": NAMES, "OutputName": TEXT, "FilePath": TEXT},
            optional={"Odd": SCALARS},
        ),
        max_size=2,
    ),
    "OutputParameters": st.lists(
        st.fixed_dictionaries({"OutputName": NAMES}, optional={"OutputType": SCALARS}), max_size=2
    ),
    "SkipCheck": expressions(),
    "FunctionArn": TEXT,
    "Odd": expressions(),
}


def plain_steps() -> st.SearchStrategy[Any]:
    types = st.sampled_from(("Processing", "Training", "Lambda", "Fail", "EMR", "Glue"))
    return st.fixed_dictionaries(
        {"Name": NAMES | TEXT, "Type": types},
        optional={"Arguments": st.dictionaries(TEXT, expressions(), max_size=3), **_OPTIONAL},
    )


def steps() -> st.SearchStrategy[Any]:
    """Steps of every kind, with nested branches and bodies."""
    return st.recursive(
        plain_steps(), lambda inner: _conditions_with(inner) | _loops_with(inner), max_leaves=4
    )


def _conditions_with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "Name": NAMES,
            "Type": st.just("Condition"),
            "Arguments": st.fixed_dictionaries(
                {"Conditions": st.lists(conditions(), max_size=2)},
                optional={
                    "IfSteps": st.lists(inner, max_size=2),
                    "ElseSteps": st.lists(inner, max_size=2) | SCALARS,
                    "Odd": SCALARS,
                },
            ),
        },
        optional={"DependsOn": st.lists(NAMES, max_size=2)},
    )


def _loops_with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    selector = st.fixed_dictionaries(
        {}, optional={"Pick": st.just("MaxBy") | SCALARS, "Field": expressions(), "Odd": SCALARS}
    )
    return st.fixed_dictionaries(
        {
            "Name": NAMES,
            "Type": st.just("ForEach"),
            "Arguments": st.fixed_dictionaries(
                {"IterableItems": expressions() | st.lists(expressions(), max_size=3)},
                optional={
                    "MaxConcurrency": st.integers(0, 51) | SCALARS,
                    "Selector": selector | SCALARS,
                    "ForEachBody": st.lists(inner, max_size=2) | SCALARS,
                    "Odd": SCALARS,
                },
            ),
        },
        optional={"DependsOn": st.lists(NAMES, max_size=2)},
    )


def odd_steps() -> st.SearchStrategy[Any]:
    """Steps in which only the name and the type are valid."""
    members = st.dictionaries(WORDS | TEXT, json_values(), max_size=5)
    return st.builds(
        lambda step, name, type_: {**step, "Name": name, "Type": type_},
        members,
        TEXT,
        st.sampled_from(("Condition", "ForEach", "Training")) | TEXT,
    )


def parameters() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"Name": NAMES},
        optional={
            "Type": st.sampled_from(("String", "Integer", "Float", "Boolean", "Date")) | SCALARS,
            "DefaultValue": json_values(3),
            "EnumValues": st.lists(SCALARS, max_size=3) | SCALARS,
            "Description": TEXT,
            "Odd": SCALARS,
        },
    )


def definitions() -> st.SearchStrategy[dict[str, Any]]:
    """Readable definitions with every construct; not all of them are valid."""
    experiment = st.fixed_dictionaries(
        {},
        optional={
            "ExperimentName": expressions(),
            "TrialName": st.fixed_dictionaries(
                {"On": st.just("-"), "Values": st.lists(expressions(), max_size=2)},
                optional={"Get": SCALARS},
            ),
        },
    )
    return st.fixed_dictionaries(
        {"Steps": st.lists(steps() | odd_steps(), max_size=3)},
        optional={
            "Version": st.just("2020-12-01") | SCALARS,
            "Metadata": st.dictionaries(TEXT, TEXT, max_size=2) | SCALARS,
            "Parameters": st.lists(parameters(), max_size=3) | json_values(4),
            "PipelineExperimentConfig": experiment | json_values(4),
            "MlflowConfig": st.none() | json_values(4),
            "Odd": json_values(4),
        },
    )


CANARY = "injected_code"
HOSTILE = [
    f'"""\n{CANARY}()\n"""',
    f"'); {CANARY}(); ('",
    f"x\n{CANARY}()",
    f"x\r{CANARY}()\u2028{CANARY}()",
    f"{{{{ {CANARY}() }}}}",
    f"{{{CANARY}()}}",
    f"\\'\\\"{CANARY}()#",
]
"""Strings that call a function if a file holds them as code; see :func:`called`."""


def called(file: str) -> bool:
    """Whether the code of a Python file calls the function of :data:`HOSTILE`.

    A variable may have that name, as variables are named after steps.
    """
    calls = [node.func for node in ast.walk(ast.parse(file)) if isinstance(node, ast.Call)]
    return any(isinstance(one, ast.Name) and one.id == CANARY for one in calls)


@st.composite
def mutated(draw: st.DrawFn, sources: st.SearchStrategy[Any]) -> Any:
    """A definition with up to three values removed, replaced, or turned from int to float."""
    definition = deepcopy(draw(sources))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(definition))
        if not places:
            break
        at = draw(st.sampled_from(places))
        holder = definition
        for name in at[:-1]:
            holder = holder[name]
        old = holder[at[-1]]
        if isinstance(old, int) and abs(old) < 2**53:
            holder[at[-1]] = float(old)
        elif draw(st.booleans()):
            holder[at[-1]] = draw(json_values(4) | st.sampled_from(HOSTILE))
        else:
            del holder[at[-1]]
    return definition


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value inside a value: keys and positions."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, item in items:
        yield (*at, name)
        yield from _places(item, (*at, name))


def canonical(value: Any) -> str:
    """A string that differs if two JSON values differ; 1, 1.0 and true are different."""
    return json.dumps(value, sort_keys=True)
