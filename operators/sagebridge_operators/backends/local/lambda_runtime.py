"""The process of a Lambda function on this machine: calls a handler with an event.

It follows the Python runtime of Lambda (aws-lambda-python-runtime-interface-client). The function's
Python runs this file as a script, ``lambda_runtime.py REQUEST ANSWER``, so it imports only the
standard library.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

_LARGEST = 6 * 1024**2 + 100
"""Lambda's limit for a response, in bytes."""


class Unusable(Exception):
    """The function cannot be called; ``type`` is Lambda's type of error."""

    def __init__(self, type_: str, message: str) -> None:
        self.type = type_
        super().__init__(message)


class LambdaContext:
    """The second argument of a handler."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.function_name: str = request["FunctionName"]
        self.function_version = "$LATEST"
        self.invoked_function_arn: str = request["FunctionArn"]
        self.memory_limit_in_mb: str = request["MemoryLimit"]
        self.aws_request_id: str = request["RequestId"]
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name: str = request["RequestId"]
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        given = request["ClientContext"]
        names = ("client", "custom", "env")
        self.client_context = SimpleNamespace(**{name: given.get(name) for name in names})
        self._deadline: float = time.monotonic() + request["Seconds"]

    def get_remaining_time_in_millis(self) -> int:
        """The time until the function is ended."""
        return max(0, round((self._deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Writes a line to the log."""
        sys.stdout.write(str(message))


def main(request: str, answer: str) -> None:
    """Calls the handler of a request, and writes the answer of the function to a file."""
    asked = json.loads(Path(request).read_text())
    context = LambdaContext(asked)
    _log_to_stdout(context)
    print(f"START RequestId: {context.aws_request_id} Version: $LATEST", flush=True)
    began = time.monotonic()
    error, payload = _answer(asked, context)
    print(f"END RequestId: {context.aws_request_id}")
    spent = (time.monotonic() - began) * 1000
    print(f"REPORT RequestId: {context.aws_request_id}\tDuration: {spent:.2f} ms", flush=True)
    Path(answer).write_text(json.dumps({"FunctionError": error, "Payload": payload}))


def _answer(asked: dict[str, Any], context: LambdaContext) -> tuple[str, str]:
    """The kind of error, empty for a success, and the payload."""
    try:
        handler = _load(Path(asked["File"]), asked["Handler"])
        returned = handler(asked["Event"], context)
        try:
            payload = json.dumps(returned)
        except (TypeError, ValueError) as error:
            text = f"Unable to marshal response: {error}"
            raise Unusable("Runtime.MarshalError", text) from error
        if (size := len(payload.encode())) > _LARGEST:
            text = f"Response payload size ({size} bytes) exceeded maximum allowed payload size"
            raise Unusable("Function.ResponseSizeTooLarge", f"{text} ({_LARGEST} bytes).")
    except Unusable as error:
        print(f"[ERROR] {error.type}: {error}")
        found: dict[str, Any] = {"errorMessage": str(error), "errorType": error.type}
        return "Unhandled", json.dumps(found | {"requestId": context.aws_request_id})
    except Exception as error:  # noqa: BLE001 - the answer of the function has it
        frames = traceback.extract_tb(error.__traceback__)
        stack = traceback.format_list([one for one in frames if one.filename != __file__])
        lines = [f"[ERROR] {type(error).__name__}: {error}", "Traceback (most recent call last):"]
        print("\n".join([*lines, *(line.rstrip("\n") for line in stack)]))
        found = {"errorMessage": str(error), "errorType": type(error).__name__}
        more = {"requestId": context.aws_request_id, "stackTrace": stack}
        return "Unhandled", json.dumps(found | more)
    return "", payload


def _load(file: Path, name: str) -> Callable[[Any, LambdaContext], Any]:
    """The handler in a file, whose folder is importable, as a function's own folder on AWS."""
    root, names = file.parent, [file.stem]
    while (root / "__init__.py").is_file():
        root, names = root.parent, [root.name, *names]
    sys.path.insert(0, str(root))
    try:
        found: Any = _import(file, names)
    except SyntaxError as error:
        text = f"Syntax error in module '{file.stem}': {error}"
        raise Unusable("Runtime.UserCodeSyntaxError", text) from error
    except ImportError as error:
        text = f"Unable to import module '{file.stem}': {error}"
        raise Unusable("Runtime.ImportModuleError", text) from error
    for part in name.split("."):
        if not hasattr(found, part):
            text = f"Handler '{name}' missing on module '{file.stem}'"
            raise Unusable("Runtime.HandlerNotFound", text)
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _import(file: Path, names: list[str]) -> ModuleType:
    if len(names) > 1:
        return importlib.import_module(".".join(names))
    # By its path: its name may be that of a module that is imported already, or contain a hyphen.
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _log_to_stdout(context: LambdaContext) -> None:
    """Sends the logs of Python to standard output in Lambda's format."""
    handler = logging.StreamHandler(sys.stdout)
    form = f"[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t{context.aws_request_id}\t%(message)s"
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.formatter.converter = time.gmtime  # type: ignore[union-attr]
    logging.getLogger().addHandler(handler)


if __name__ == "__main__":
    main(*sys.argv[1:])
