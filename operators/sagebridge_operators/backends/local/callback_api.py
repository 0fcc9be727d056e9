"""The operations of the local SageMaker API that answer Callback steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagebridge_operators.backends import records_at, records_location
from sagebridge_operators.backends.local.api import ApiError
from sagebridge_operators.lifecycle.answers import give_answer
from sagebridge_operators.run_errors import CallbackEnded, UnknownCallback


class Callbacks:
    """The waiting steps in the execution records of the folder ``home``."""

    def __init__(self, home: Path, base: Path) -> None:
        self._home, self._base = home, base

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API operations on waiting steps, by name."""
        return {
            "SendPipelineExecutionStepFailure": self.fail,
            "SendPipelineExecutionStepSuccess": self.succeed,
        }

    def succeed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let a step succeed."""
        outputs = request.get("OutputParameters", [])
        answer = {"status": "Success", "outputParameters": outputs}
        return self._answer(request["CallbackToken"], answer)

    def fail(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let a step fail."""
        answer = {"status": "Failure", "failureReason": request.get("FailureReason", "")}
        return self._answer(request["CallbackToken"], answer)

    def _answer(self, token: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        from sagebridge_operators.backends.local import LocalBackend

        backend = LocalBackend(self._home, self._base)
        try:
            found = give_answer(records_at(records_location(self._home), backend), token, answer)
        except UnknownCallback as error:
            raise ApiError("ResourceNotFound", str(error)) from None
        except CallbackEnded as error:
            raise ApiError("ConflictException", str(error)) from None
        return {"PipelineExecutionArn": found.message["pipelineExecutionArn"]}
