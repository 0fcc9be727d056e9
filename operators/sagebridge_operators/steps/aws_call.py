"""AwsCall: one call of any AWS API and, if the step waits, looks at what the call started.

The request is described by the arguments of the step, see :mod:`sagebridge.model.aws_calls`. The
handle of a call is ``<service>.<operation>|<JSON>``: the JSON has all that a look or a stop needs,
and the result. An API with a client token gets one, so that its call can be repeated. A call that
starts something without a token is never repeated: if its answer is lost, the step fails.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from sagebridge.model.aws_calls import PATH, is_repeatable
from sagebridge.model.code_steps import AWS_CALL, RETURN_VALUE
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.run_errors import FailureKind, StepFailed
from sagebridge_operators.steps.job_type import (
    JobType,
    ResourceBusy,
    Services,
    State,
    is_not_found,
)

_THROTTLED = (
    *("Throttl", "TooManyRequests", "RequestLimitExceeded", "ConcurrentRunsExceeded"),
    *("RequestThrottled", "ProvisionedThroughputExceeded", "SlowDown"),
)
_TIMED_OUT = "has waited too long"


class _Path(str):
    """A string of the step's arguments that is a path into earlier answers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCall(JobType):
    def client(self, services: Services) -> Any:
        """The services themselves, as each call names its own."""
        return services

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The arguments; paths in them are marked, and kept until their answers exist."""
        call = {str(key): value for key, value in arguments.items()}
        if isinstance(step.arguments, Mapping):
            for key in ("request", "before", "wait", "stop"):
                if key in call:
                    call[key] = _marked(step.arguments[key], call[key])
        # Tokens have 32 to 64 characters in some APIs, and the form of a UUID in others.
        call["token"] = str(uuid.uuid5(uuid.NAMESPACE_URL, token))
        if "operation" not in call:  # a sensor
            if step.engine.poll_timeout is not ABSENT:
                call["timeout"] = step.engine.poll_timeout
            call["soft_fail"] = step.engine.soft_fail
        return call

    def create_method(self, request: Mapping[str, Any]) -> str:
        return str(_main(request)["operation"])

    def given_name(self, step: Step) -> Value:
        return ABSENT

    def handle(self, name: str, request: Mapping[str, Any], since: datetime) -> str:
        facts: dict[str, Any] = {}
        if "operation" in request and not is_repeatable(request["operation"]):
            token = _token_key(request["service"], request["operation"])
            facts["unanswered"] = "repeat" if token else "fail"
        if timeout := request.get("timeout"):
            facts["until"] = since.timestamp() + timeout
        if request.get("soft_fail"):
            facts["soft_fail"] = True
        return _handle(request, facts)

    def if_unanswered(self, name: str) -> Literal["", "fail", "repeat"]:
        found: Literal["", "fail", "repeat"] = _facts(name).get("unanswered", "")
        return found

    def watched(self, name: str) -> str:
        """The handle without the result, which may be large or secret."""
        head, bar, _ = name.partition("|")
        facts = {key: value for key, value in _facts(name).items() if key != "value"}
        return f"{head}{bar}{json.dumps(facts, sort_keys=True)}"

    def left_by_stop(self, name: str) -> str:
        facts = _facts(name)
        if "called" not in facts or "stop" in facts:
            return ""
        if "value" not in facts:
            return "stopped while it waited"
        shown = name.partition("|")[0]
        return (
            f"stopped; the step has no call that stops what {shown} started: check whether it runs"
        )

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        """The outcome of a call that was made: its ``Status``, ``Reason`` and ``return_value``."""
        facts = _facts(name)
        if "called" not in facts:
            return None
        found = {"Name": name.partition("|")[0], RETURN_VALUE: facts.get("value")}
        if "failed" in facts:
            return {**found, "State": "Failed", "Status": "Failed", "Reason": facts["failed"]}
        if "wait" not in facts:
            return {**found, "State": "Succeeded", "Status": "Called"}
        return self._look(client, facts, found)

    def _look(
        self, services: Services, facts: Mapping[str, Any], found: dict[str, Any]
    ) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        wait = facts["wait"]
        try:
            answer = _call(services, wait["service"], wait["operation"], wait["request"])
            status = _search(wait["status"], answer)
        except ClientError as error:
            answer, status = {}, error.response.get("Error", {}).get("Code", "")
            known = (*wait["success"], *wait.get("failure", ()), *wait.get("pending", ()))
            if status not in known:
                if is_not_found(error):
                    return None
                raise
        state, reason = _state(status, wait), None
        if state == "Executing" and datetime.now(UTC).timestamp() > facts.get(
            "until", float("inf")
        ):
            state, reason = "Failed", f"the last status was {_text(status)}"
            status = _TIMED_OUT
        elif state == "Failed":
            reason = _search(wait.get("reason", ""), answer)
        elif state == "Succeeded":
            try:
                reason = _search(wait.get("fails", ""), answer)
                if wait.get("result") and not reason:
                    found[RETURN_VALUE] = _json(_search(wait["result"], answer))
            except StepFailed as unknown:
                reason = str(unknown)
            state = "Failed" if reason else state
        if state == "Failed" and facts.get("soft_fail"):
            state = "Skipped"
        return {**found, "State": state, "Status": _text(status), "Reason": reason}

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        """Makes the call, after the ones before it, and returns the handle with its result."""
        facts = {key: value for key, value in _facts(name).items() if key != "unanswered"}
        known: dict[str, Any] = {"before": []}
        for expression in _expressions(request):
            _compiled(expression)
        for one in request.get("before", ()):
            earlier = self._ignoring(client, {"service": request["service"], **one}, known)
            known["before"].append(earlier)
        facts["called"] = True
        answer: dict[str, Any] = {}
        if "operation" in request:
            given = _with_token(request, known)
            answer = self._ignoring(client, given, known)
            known = {**known, **answer, "request": given["request"]}
        try:
            for key in ("stop", "wait"):
                if key in request:
                    filled = _filled(request[key], known)
                    facts[key] = {"service": request["service"], **_json(filled)}
            if "operation" in request:
                facts["value"] = None
                result = request.get("result", "")
                own = known if result.startswith(PATH) else answer
                facts["value"] = _json(_search(result.removeprefix(PATH), own))
                if failed := _search(request.get("fails", ""), answer):
                    facts["failed"] = _text(failed)
        except StepFailed as unknown:  # no look can follow what the call has started
            facts["failed"] = f"{unknown}{self._stopped_now(client, facts)}"
        return _handle(request, facts)

    def _stopped_now(self, client: Any, facts: Mapping[str, Any]) -> str:
        """Stops what a call has started; returns the result as the tail of a message."""
        if (stop := facts.get("stop")) is None:
            return "; check what the call has started"
        try:
            _call(client, stop["service"], stop["operation"], stop["request"])
        except Exception as error:  # noqa: BLE001 - reported in the message
            return f"; what the call has started could not be stopped ({error})"
        return "; a stop was sent to what the call has started"

    def _ignoring(
        self, services: Services, call: Mapping[str, Any], known: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The answer to a call; its error is the answer if the call ignores it."""
        from botocore.exceptions import ClientError

        request = _filled(call.get("request", {}), known)
        try:
            return _call(services, call["service"], call["operation"], request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in call.get("ignore", ()):
                return dict(error.response)
            if code == "ExecutionAlreadyExists" and request.get("name") == call.get("token"):
                return {"executionArn": _execution_arn(request)}  # its answer was lost
            if code.startswith(_THROTTLED):  # nothing was started
                raise ResourceBusy(str(error)) from error
            raise

    def state(self, description: Mapping[str, Any]) -> State:
        state: State = description["State"]
        return state

    def knows_status(self, status: str) -> bool:
        """True: the step lists only the statuses that end it."""
        return True

    def reason(self, description: Mapping[str, Any]) -> str:
        return _text(description.get("Reason") or "")

    def failure_kind(self, description: Mapping[str, Any]) -> FailureKind:
        """A sensor that has waited for its whole time is not tried again."""
        return "final" if description["Status"] == _TIMED_OUT else "job"

    def ended(self, description: Mapping[str, Any]) -> str | None:
        return None

    def request_stop(self, client: Any, name: str) -> None:
        from botocore.exceptions import ClientError

        facts = _facts(name)
        if (stop := facts.get("stop")) is None:
            return
        try:
            _call(client, stop["service"], stop["operation"], stop["request"])
        except ClientError as error:
            found = self.find(client, name)
            if found is None or self.state(found) == "Executing":
                raise error from None


def _main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes a call; without an operation, the look that is repeated."""
    main: Mapping[str, Any] = request if "operation" in request else request["wait"]
    return main


def _handle(request: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    shown = f"{request['service']}.{_main(request)['operation']}"
    return f"{shown}|{json.dumps(facts, sort_keys=True)}"


def _facts(handle: str) -> dict[str, Any]:
    text = handle.partition("|")[2]
    return dict(json.loads(text)) if text else {}


def _marked(given: Value, resolved: Any) -> Any:
    """The resolved value; strings that the step itself spells as paths are marked.

    A run-time value is data, so it is never a path.
    """
    if isinstance(given, str) and given.startswith(PATH) and isinstance(resolved, str):
        return _Path(resolved)
    if isinstance(given, Mapping) and isinstance(resolved, Mapping):
        return {name: _marked(given[name], item) for name, item in resolved.items()}
    if isinstance(given, tuple | list) and isinstance(resolved, tuple | list):
        return [_marked(one, item) for one, item in zip(given, resolved, strict=True)]
    return resolved


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    """The value with paths replaced by what they lead to. Raises StepFailed if that is nothing."""
    if isinstance(value, _Path):
        if (found := _search(value.removeprefix(PATH), known)) is None:
            raise StepFailed(f"the answer has no {value.removeprefix(PATH)}", kind="request")
        return found
    if isinstance(value, Mapping):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, known) for item in value]
    return value


def _with_token(request: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The call with its request filled in, and with a client token if the API takes one."""
    given = _filled(request.get("request", {}), known)
    key = _token_key(request["service"], request["operation"])
    if key and key not in given:
        given = {**given, key: request["token"]}
    return {**request, "request": given}


def _token_key(service: str, operation: str) -> str:
    """The member of a request that makes it repeatable; empty without one."""
    from botocore import session

    if (service, operation) == ("stepfunctions", "StartExecution"):
        return "name"  # starts nothing if an execution with this name and input runs
    shape = session.get_session().get_service_model(service).operation_model(operation).input_shape
    members: Mapping[str, Any] = shape.members if shape is not None else {}
    return next((name for name, one in members.items() if one.metadata.get("idempotencyToken")), "")


def _execution_arn(request: Mapping[str, Any]) -> str:
    """The ARN of the execution of a state machine, which its name determines."""
    machine = request["stateMachineArn"].replace(":stateMachine:", ":execution:")
    return ":".join([*machine.split(":")[:7], request["name"]])


def _call(
    services: Services, service: str, operation: str, request: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer to a call, as JSON values."""
    from botocore import xform_name

    client, method = services.client(service), xform_name(operation)
    if not is_repeatable(operation):
        # botocore must not repeat it: the step decides. Each retry mode registers its handler so
        # (botocore/retries/standard.py, botocore/client.py).
        own = client.meta.service_model.service_id.hyphenize()
        client.meta.events.unregister(f"needs-retry.{own}", unique_id=f"retry-config-{own}")
    if operation == "DeleteObjects":
        return _delete_objects(client, request)
    if operation.startswith("List") and client.can_paginate(method):
        answer = client.get_paginator(method).paginate(**request).build_full_result()
    else:
        answer = getattr(client, method)(**_completed(client, operation, request))
    return {key: _json(value) for key, value in answer.items()}


def _delete_objects(client: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of S3's DeleteObjects, which takes 1 to 1,000 keys, for any number of keys."""
    objects = list(request["Delete"]["Objects"])
    answer: dict[str, list[Any]] = {"Deleted": [], "Errors": []}
    for first in range(0, len(objects), 1000):
        part = {**request["Delete"], "Objects": objects[first : first + 1000]}
        found = client.delete_objects(**{**request, "Delete": part})
        for name, items in answer.items():
            items.extend(_json(found.get(name, [])))
    return answer


def _completed(client: Any, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with objects as JSON where the API takes strings, and the bucket's region."""
    shape = client.meta.service_model.operation_model(operation).input_shape
    members = shape.members if shape is not None else {}
    strings = {name for name, one in members.items() if one.type_name in ("string", "blob")}
    strings.discard("CopySource")  # boto3 also takes a dict: botocore/handlers.py
    completed = {
        name: json.dumps(value) if name in strings and isinstance(value, dict | list) else value
        for name, value in request.items()
    }
    # S3 rejects the default region as a constraint, and each other one without it.
    if operation == "CreateBucket" and client.meta.region_name != "us-east-1":
        region = {"LocationConstraint": client.meta.region_name}
        completed.setdefault("CreateBucketConfiguration", region)
    return completed


def _json(value: Any) -> Any:
    """A value of an answer as JSON; a stream is read to its end."""
    if hasattr(value, "read"):
        value = value.read()
    match value:
        case bytes():
            return value.decode(errors="replace")
        case datetime() | date():
            return value.isoformat()
        case Mapping():
            return {str(name): _json(item) for name, item in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
    return value


def _search(expression: str, value: Any) -> Any:
    """The value at a JMESPath expression, which may call ``from_json``; None if it is empty."""
    if not expression:
        return None
    import jmespath

    try:
        options = jmespath.Options(custom_functions=_functions())
        return _compiled(expression).search(value, options)
    except ValueError as error:  # also of invalid JSON text
        raise StepFailed(f"{expression}: {error}", kind="request") from None


def _compiled(expression: str) -> Any:
    """A JMESPath expression. Raises StepFailed for an invalid one."""
    import jmespath

    try:
        return jmespath.compile(expression)
    except ValueError as error:
        raise StepFailed(f"{expression}: {error}", kind="request") from None


def _expressions(request: Mapping[str, Any]) -> Iterator[str]:
    """The expressions of a call and its wait."""
    wait = request.get("wait", {})
    given = [request.get("result"), request.get("fails")]
    given += [wait.get(name) for name in ("status", "reason", "result", "fails")]
    return (one.removeprefix(PATH) for one in given if one)


def _functions() -> Any:
    from jmespath import functions

    class More(functions.Functions):  # type: ignore[misc]
        @functions.signature({"types": ["string", "null"]})  # type: ignore[untyped-decorator]
        def _func_from_json(self, text: str | None) -> Any:
            return None if text is None else json.loads(text)

    return More()


def _state(status: Any, wait: Mapping[str, Any]) -> State:
    """The state for a status, or for a list of them: all must succeed, and none may fail."""
    every = status if isinstance(status, list) else [status]
    if any(one in wait.get("failure", ()) for one in every):
        return "Failed"
    if every and all(one in wait["success"] for one in every):
        return "Succeeded"
    return "Executing"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(dict.fromkeys(map(_text, value)))
    return value if isinstance(value, str) else json.dumps(value, default=str)


STEP = AwsCall(
    type=AWS_CALL,
    service="",
    create="",
    describe="",
    stop="stop",
    name_key="Name",
    arn_key="Arn",
    role_key=None,
    status_key="Status",
    reason_keys=("Reason",),
    noun="call",
    found_by="token",
    since_attempt=True,
    fails_when_stopped=True,
    outputs=lambda found: {RETURN_VALUE: found[RETURN_VALUE]},
    permissions=((("*",), "*"),),
)
