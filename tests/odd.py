"""A pipeline with odd names and strings that runs; AWS gets exactly what its definition has."""

from __future__ import annotations

import json
from typing import Any

from tests.pipelines import ODD_TEXTS

NAMES = (
    *("class", "a-b", "a_b", "A-B", "print", "1st", "-", "__", "DAG", "None", "join", "flow"),
    *("model", "self", "execution", "finish", "dag", "x" * 64, "x" * 63 + "-", "Param", "l"),
    *("step", "parameter", "get", "match", "return_state", "watch_failures"),
)
TEXTS = tuple(text for text in ODD_TEXTS if text.isascii() or text.isprintable())
PARAMETERS = {"P": "{{ 7 * 7 }}", "class": "'''", "in-count": 3, "in_count": True, "copy": "{x}"}
_TYPES = {str: "String", int: "Integer", bool: "Boolean"}
_ROLE = "arn:aws:iam::111122223333:role/r"
FAILING = "x" * 20 + " ".join(TEXTS)


def request(*, failing: bool = False) -> dict[str, Any]:
    """A CreatePipeline request with one Model step per name, each with another string.

    With ``failing`` the last condition is false, and a Fail step has all odd strings.
    """
    steps = [_model(position) for position in range(len(NAMES))]
    stop = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": FAILING}}
    sides = {"LeftValue": {"Get": "Parameters.P"}, "RightValue": "49" if failing else "{{ 7 * 7 }}"}
    check = {
        "Name": "Check",
        "Type": "Condition",
        "DisplayName": "<b>{{ x }}</b>",
        "Arguments": {
            "Conditions": [{"Type": "Equals", **sides}],
            "IfSteps": steps[-1:],
            "ElseSteps": [stop],
        },
    }
    parameters = [
        {
            "Name": name,
            "Type": _TYPES[type(value)],
            "DefaultValue": value,
            "Description": f"{text}: <i>{{{{ x }}}}</i>\nArgs:\n    P: q",
        }
        for (name, value), text in zip(PARAMETERS.items(), TEXTS, strict=False)
    ]
    definition = {
        "Version": "2020-12-01",
        "Metadata": {text: text for text in TEXTS},
        "Parameters": parameters,
        "Steps": [*steps[:-1], check],
    }
    return {
        "PipelineName": "odd-{x}",
        "PipelineDescription": "{{ 7 * 7 }}: {x}\nArgs:\n    P: <script>alert(1)</script> notes.md",
        "PipelineDefinition": json.dumps(definition),
        "Tags": [{"Key": "{{ x }}", "Value": "{x}"}],
    }


def _model(position: int) -> dict[str, Any]:
    text = TEXTS[position % len(TEXTS)]
    joined = {"Std:Join": {"On": text, "Values": [{"Get": "Parameters.P"}, text, 1.0, True]}}
    environment = {
        "TEXT": text,
        "JOINED": joined,
        **{f"P{n}": {"Get": f"Parameters.{one}"} for n, one in enumerate(("P", "class", "copy"))},
    }
    arguments: dict[str, Any] = {
        "ExecutionRoleArn": _ROLE,
        "Containers": [{"Image": "i", "Environment": environment}],
    }
    if position:
        before = {"Get": f"Steps.{NAMES[position - 1]}.ModelName"}
        arguments["Tags"] = [{"Key": "before", "Value": before}]
    found = {"Name": NAMES[position], "Type": "Model", "Arguments": arguments}
    return {**found, "Description": text, "DisplayName": text or "x"}


def check_requests(called: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Check that each request is the one of its step. ``names`` are the job names by step."""
    by_name = {one["ModelName"]: one for one in called}
    assert len(by_name) == len(called)
    assert set(NAMES[:-1]) <= set(names), set(NAMES) - set(names)
    for position, step in enumerate(NAMES):
        if step not in names:
            continue
        text = TEXTS[position % len(TEXTS)]
        expected: dict[str, Any] = {
            "ModelName": names[step],
            "ExecutionRoleArn": _ROLE,
            "Containers": [
                {
                    "Image": "i",
                    "Environment": {
                        "TEXT": text,
                        "JOINED": text.join((PARAMETERS["P"], text, "1.0", "true")),  # type: ignore[arg-type]
                        "P0": PARAMETERS["P"],
                        "P1": PARAMETERS["class"],
                        "P2": PARAMETERS["copy"],
                    },
                }
            ],
        }
        if position:
            expected["Tags"] = [{"Key": "before", "Value": names[NAMES[position - 1]]}]
        assert by_name[names[step]] == expected
