"""Values that only a Prefect server has: blocks and variables, in a flow or on import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.python.import_guard import SideEffectError
from sagebridge.model.losses import Severity
from sagebridge.model.parameters import PYTHON_TYPES
from sagebridge.model.values import ABSENT, Value

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace
    from sagebridge.formats.prefect.tracing.symbols import Symbol, Test
    from sagebridge.formats.prefect.tracing.task_calls import TracedFile


@dataclass(frozen=True, slots=True)
class ServerValue:
    """A value that becomes a parameter as soon as a step uses it.

    Attributes:
        what: a noun phrase for messages.
        line: where the file reads it.
        name: the wanted name of the parameter.
        default: the default of the parameter.
    """

    what: str
    line: int
    name: str = ""
    default: Value = ABSENT


class ImportTrace:
    """Stands for the trace of a value that is read on import, before any flow is traced.

    It passes each call on to the trace of the flow that uses the value.
    """

    def __init__(self, traced: Sequence[FlowTrace], file: TracedFile) -> None:
        self.traced, self.file = traced, file
        self.texts: list[Symbol] = []
        self.losses: list[tuple[tuple[str, Severity, str, str], int]] = []

    @property
    def importing(self) -> bool:
        return not self.traced

    def __getattr__(self, name: str) -> Any:
        if not self.traced:
            raise SideEffectError("tests or iterates over a value of the Prefect server")
        return getattr(self.traced[-1], name)

    def in_file(self) -> bool:
        return bool(self.traced) and self.traced[-1].in_file()

    def parameter_for(self, what: str, type_: str = "", *of: Any, **more: Any) -> Symbol:
        if self.traced:
            return self.traced[-1].parameter_for(what, type_, *of, **more)
        return server_value(ServerValue(what, self.file.line()), type_, self)

    def report(self, code: str, severity: Severity, what: str, advice: str = "") -> None:
        """Report a loss in each flow of the file."""
        if self.traced:
            self.traced[-1].report(code, severity, what, advice)
        else:
            self.losses.append(((code, severity, what, advice), self.file.line()))

    def decide(self, test: Test) -> bool:
        if not self.traced:
            raise SideEffectError("tests a value of the Prefect server")
        return self.traced[-1].decide(test)

    def stop(self, code: str, what: str) -> NoReturn:
        if not self.traced:
            raise SideEffectError("uses a value of the Prefect server")
        self.traced[-1].stop(code, what)


def server_value(value: ServerValue, type_: str, trace: Any) -> Symbol:
    from sagebridge.formats.prefect.tracing.symbols import Symbol

    expression: Any = value
    return Symbol(expression, type_, trace)


def variable(trace: Any, name: str, default: Any = None, *_: Any, **more: Any) -> Symbol:
    """The value of ``Variable.get``; a parameter with the same name and default."""
    kind = PYTHON_TYPES.get(type(default).__name__, "" if default is None else OBJECT)
    stated = default if kind not in ("", OBJECT) else ABSENT
    value = ServerValue(f"the Prefect variable {name!r}", trace.file.line(), str(name), stated)
    return server_value(value, kind, trace)


def block(trace: Any, kind: str, name: str) -> Symbol:
    """The value of ``Block.load``, which is reported at the line that loads it."""
    what = f"the {kind} block {name!r}"
    advice = "load the block in the task that needs it"
    if kind == "Secret":
        advice += ": everyone who sees a run sees its parameters"
    trace.report("block", "changed", f"{what} is not loaded: its values are not known", advice)
    return server_value(ServerValue(what, trace.file.line(), name), OBJECT, trace)
