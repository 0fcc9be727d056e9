"""Lambda: Invoke of a function, whose answer is the outcome of the step.

AWS cannot describe or stop an invocation. The local backend can: it finds one by its token.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType, Services
from sagebridge_operators.steps.output_parameters import OUTPUT_PARAMETERS, typed_outputs

CALL_KEY = "sagebridge_call"
"""The key of the attempt's token in the ``custom`` part of the client context of a function."""
STOPPED = "Stopped"
"""The FunctionError of an invocation that was stopped; only the local backend stops one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lambda(JobType):
    """Invoke has no client token: a call whose answer is lost is made again.

    Its clients are the services of a backend. All calls of an attempt have the same token in their
    client context, so that a function can recognize a call that is repeated.
    """

    def client(self, services: Services) -> Services:
        return services

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        function = step.extra.get("FunctionArn")
        if not isinstance(function, str) or not function:
            text = f"FunctionArn of step {step.name!r}: expected a function, got {function!r}"
            raise StepFailed(text, kind="request")
        return {
            "FunctionName": function,
            "InvocationType": "RequestResponse",
            "ClientContext": {"custom": {CALL_KEY: token}},
            "Payload": dict(arguments),
        }

    def handle(self, name: str, request: Mapping[str, Any], since: object) -> str:
        return f"{request['FunctionName']}|{request['ClientContext']['custom'][CALL_KEY]}"

    def find(self, client: Services, name: str) -> dict[str, Any] | None:
        function, _, token = name.partition("|")
        found = client.invocation(token)
        return None if found is None else _description(function, found)

    def call(self, client: Services, request: Mapping[str, Any]) -> dict[str, Any]:
        context = base64.b64encode(json.dumps(request["ClientContext"]).encode())
        payload = json.dumps(request["Payload"]).encode()
        encoded = {"Payload": payload, "ClientContext": context.decode()}
        answer = client.client(self.service).invoke(**{**request, **encoded})
        found = {
            "Event": request["Payload"],
            "FunctionError": answer.get("FunctionError"),
            "Payload": answer["Payload"].read().decode(errors="replace"),
        }
        return _description(request["FunctionName"], found)

    def request_stop(self, client: Services, name: str) -> None:
        client.stop_invocation(name.partition("|")[2])

    def properties(self, step: Step, description: Mapping[str, Any]) -> Mapping[str, Any]:
        returned = description["Payload"]
        given = returned if isinstance(returned, Mapping) else {}
        source = f"the answer of {description['FunctionName']}"
        return {**description, "OutputParameters": typed_outputs(step, given, source)}


def _description(function: str, found: Mapping[str, Any]) -> dict[str, Any]:
    text, error = found["Payload"], found["FunctionError"]
    try:
        returned = json.loads(text) if text else None
    except ValueError:
        returned = text
    described = {
        "FunctionName": function,
        "Event": found["Event"],  # its secrets are masked in messages
        "Payload": returned,
    }
    if found.get("Running"):
        return {**described, "Status": "InProgress"}
    if error == STOPPED:
        return {**described, "Status": STOPPED}
    if error:
        return {**described, "Status": "Failed", "FailureReason": _reason(error, returned)}
    return {**described, "Status": "Succeeded"}


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
    states={"Succeeded": "Succeeded", "Failed": "Failed", STOPPED: "Stopped"},
    noun="function",
    found_by="at-least-once",
    synchronous=True,
    not_deferred="the answer to the call is its outcome, and only the process that calls gets it",
    outputs=lambda found: {OUTPUT_PARAMETERS: found.get("OutputParameters")},
    permissions=((("lambda:InvokeFunction",), "arn:aws:lambda:*:{account}:function:*"),),
)
