"""Import a SageMaker SDK pipeline from a module or file, which executes user code in this process.

What this code prints goes to standard error, so that standard output has only the result. The
notices and the telemetry of the SDK are switched off.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sagebridge.errors import SourceError
from sagebridge.formats.sagemaker.sdk_triggers import SDK_MODULES, recording

ARGUMENTS: ContextVar[Mapping[str, str]] = ContextVar("ARGUMENTS")
"""The arguments for a function that returns a pipeline; the option --arg sets them."""
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_TELEMETRY = (
    "sagemaker.telemetry.telemetry_logging",
    "sagemaker.core.telemetry.telemetry_logging",
)
"""The modules of SDK 2 and 3 with _send_telemetry_request. They have no setting in the environment,
only one in the user's SDK defaults."""


def load(source: str, module: str, attribute: str) -> tuple[Any, Any]:
    """The attribute of a module, and the module. Importing it runs its code."""
    try:
        with quiet():
            if module.endswith(".py"):
                found: Any = _import_file(Path(module), source)
            else:
                sys.path.insert(0, str(Path.cwd()))
                try:
                    found = importlib.import_module(module)
                finally:
                    sys.path.remove(str(Path.cwd()))
    except ModuleNotFoundError as error:
        raise SourceError(
            source,
            f"the import needs the module {error.name!r}",
            "install it in this environment",
        ) from error
    except SourceError:
        raise
    except (Exception, SystemExit) as error:
        problem = f"raised on import: {type(error).__name__}: {error}"
        raise SourceError(source, problem, _region_fix(error)) from error
    imported = found
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise SourceError(source, f"{module} has no attribute {name!r}") from None
    return found, imported


def call(function: Callable[..., Any], what: str, source: str, *, given: bool = False) -> Any:
    """The result of user code. ``given`` passes it the arguments of the option --arg."""
    arguments = _arguments_for(function, source) if given else {}
    try:
        with quiet():
            return function(**arguments)
    except (Exception, SystemExit) as error:
        problem = f"{what} raised {type(error).__name__}: {error}"
        raise SourceError(source, problem, _region_fix(error)) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Send output to standard error, and silence the notices and telemetry of the SDK."""
    sys.stdout.flush()
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    saved = os.dup(1)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _stop_telemetry()
            with recording(sys.modules):
                yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        logging.disable(disabled)


def _stop_telemetry() -> None:
    for name in _TELEMETRY:
        if (module := sys.modules.get(name)) is not None:
            vars(module)["_send_telemetry_request"] = lambda *args, **kwargs: None


def _import_file(path: Path, source: str) -> Any:
    if not path.is_file():
        raise SourceError(source, f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(f"_sagebridge_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SourceError(source, f"{path} is not a Python file")
    if b"sagemaker" in path.read_bytes():
        # The file may call the SDK on import, so telemetry is stopped before that.
        for name in _TELEMETRY:
            with suppress(Exception):
                importlib.import_module(name)
        _stop_telemetry()
    if b"put_triggers" in path.read_bytes():
        for name in SDK_MODULES:
            with suppress(Exception):
                importlib.import_module(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with recording(sys.modules):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _region_fix(error: BaseException) -> str:
    """The fix for an SDK that finds no region, which it needs on import."""
    text = f"{type(error).__name__} {error}"
    if "NoRegionError" in text or "configuration with a region" in text:
        return "set AWS_DEFAULT_REGION"
    return ""


def _arguments_for(function: Callable[..., Any], source: str) -> dict[str, Any]:
    """The arguments of --arg, in the types that the function declares."""
    given = ARGUMENTS.get({})
    try:
        declared = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return dict(given)
    names = [name for name, one in declared.items() if one.kind in _NAMED]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in declared.values())
    for name in given:
        if name not in names and not takes_any:
            known = f"it has {', '.join(names)}" if names else "it has none"
            raise SourceError(source, f"the function has no argument {name!r}", known)
    empty = inspect.Parameter.empty
    required = [name for name in names if declared[name].default is empty and name not in given]
    if required:
        fix = "set it with " + " ".join(f"--arg {name}=VALUE" for name in required)
        raise SourceError(source, f"the function needs {', '.join(required)}", fix)
    return {name: _typed(name, text, declared.get(name), source) for name, text in given.items()}


def _typed(name: str, text: str, declared: inspect.Parameter | None, source: str) -> Any:
    """An argument in the type of its annotation or default; a string by default."""
    wanted = "str"
    if declared is not None:
        annotation = declared.annotation
        if annotation is inspect.Parameter.empty:
            annotation = type(declared.default)
        wanted = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    try:
        match wanted:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "bool":
                raise ValueError("expected true or false")
    except ValueError:
        problem = f"--arg {name}={text}: expected a value of type {wanted}"
        raise SourceError(source, problem) from None
    return text
