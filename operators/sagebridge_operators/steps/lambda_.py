"""Lambda: Invoke of a function, whose answer is the outcome of the step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType
from sagebridge_operators.steps.output_parameters import OUTPUT_PARAMETERS, typed_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Lambda(JobType):
    """Invoke has no client token: a call whose answer is lost is made again."""

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        function = step.extra.get("FunctionArn")
        if not isinstance(function, str) or not function:
            text = f"FunctionArn of step {step.name!r}: expected a function, got {function!r}"
            raise StepFailed(text, kind="request")
        kind = "RequestResponse"
        return {"FunctionName": function, "InvocationType": kind, "Payload": dict(arguments)}

    def handle(self, name: str, request: Mapping[str, Any], since: object) -> str:
        return str(request["FunctionName"])

    def find(self, client: Any, name: str) -> None:
        """None: Lambda cannot describe an invocation."""

    def call(self, client: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        payload = json.dumps(request["Payload"]).encode()
        answer = client.invoke(**{**request, "Payload": payload})
        text = answer["Payload"].read().decode(errors="replace")
        try:
            returned = json.loads(text) if text else None
        except ValueError:
            returned = text
        found: dict[str, Any] = {
            "FunctionName": request["FunctionName"],
            "Event": request["Payload"],  # its secrets are masked in messages
            "Payload": returned,
        }
        if error := answer.get("FunctionError"):
            return {**found, "Status": "Failed", "FailureReason": _reason(error, returned)}
        return {**found, "Status": "Succeeded"}

    def properties(self, step: Step, description: Mapping[str, Any]) -> Mapping[str, Any]:
        returned = description["Payload"]
        given = returned if isinstance(returned, Mapping) else {}
        source = f"the answer of {description['FunctionName']}"
        return {**description, "OutputParameters": typed_outputs(step, given, source)}


def _reason(error: str, returned: Any) -> str:
    """The error in a payload: ``errorType: errorMessage``, as in "Lambda function errors"."""
    if isinstance(returned, Mapping) and "errorMessage" in returned:
        texts = (returned.get("errorType"), returned["errorMessage"])
        return ": ".join(str(text) for text in texts if text)
    return f"{error}: {json.dumps(returned)}"


STEP = Lambda(
    type="Lambda",
    service="lambda",
    create="invoke",
    describe="invoke",
    name_key="FunctionName",
    arn_key="FunctionName",
    role_key=None,
    status_key="Status",
    states={"Succeeded": "Succeeded", "Failed": "Failed"},
    noun="function",
    found_by="at-least-once",
    synchronous=True,
    not_deferred="the answer to the call is its outcome, and only the process that calls gets it",
    outputs=lambda found: {OUTPUT_PARAMETERS: found.get("OutputParameters")},
    permissions=((("lambda:InvokeFunction",), "arn:aws:lambda:*:{account}:function:*"),),
)
