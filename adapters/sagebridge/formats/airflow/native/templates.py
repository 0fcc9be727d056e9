"""Values of a pipeline as Jinja templates, which Airflow renders for the provider's operators.

Rendered templates are strings. The operators turn only some fields of their config into numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sagebridge.authoring.request_shapes import ApiShape, inner_shape, parameter_type
from sagebridge.model.display import shown
from sagebridge.model.expressions import (
    Get,
    Index,
    Join,
    JsonGet,
    Key,
    Member,
    Template,
    Token,
    execution,
    is_expression,
    parse_tokens,
)
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Object, Value

_MARKS = re.compile(r"\{\{|\{%|\{#|\r|\n\Z")
_VARIABLES = {
    execution.pipeline_execution_id.text: "run_id",
    execution.pipeline_name.text: "dag.dag_id",
    execution.start_datetime.text: "dag_run.start_date.isoformat()",
    execution.current_datetime.text: "macros.datetime.now(macros.dateutil.tz.UTC).isoformat()",
}
_KEYED = {"Outputs": "OutputName", "ProcessingInputs": "InputName"}
"""Lists of a Describe response whose items SageMaker finds by name, and Jinja by position."""
_XCOMS = {
    "EndpointConfig": "['EndpointConfig']",
    "Endpoint": "['Endpoint']",
    "Model": "['Model']",
    "Processing": "['Processing']",
    "Training": "['Training']",
    "Transform": "['Transform']",
    "Tuning": "['Tuning']",
}
"""Where the operator of a step type has the Describe response in its XCom."""
_SINGLE = {("RegisterModel", "ModelPackageArn")}
"""The types whose XCom is one property."""


class Unsayable(Exception):
    """A value that no template can have; the message is a noun phrase."""


@dataclass(slots=True)
class Templates:
    """The values of one pipeline.

    Attributes:
        steps: all steps by name.
        task_ids: the task id of each step.
        parameters: all parameters by name.
        fixed: the parameters that had to be replaced by their default, by the field.
    """

    steps: Mapping[str, Step]
    task_ids: Mapping[str, str]
    parameters: Mapping[str, Parameter]
    fixed: dict[str, str] = field(default_factory=dict)

    def value(
        self,
        value: Value,
        shape: ApiShape | None = None,
        numbers: Collection[tuple[str, ...]] = (),
        path: tuple[str, ...] = (),
    ) -> Value:
        """A value whose expressions are templates.

        ``numbers`` are the paths of the fields that the operator turns into integers. Any other
        field that needs a number or a Boolean gets the default of its parameter.
        """
        if isinstance(value, str):
            return literal(value)
        if is_expression(value):
            if parameter_type(shape) is not None and path not in numbers:
                return self._default(value, path)
            return self.text(value)
        if isinstance(value, Mapping):
            return Object(
                {
                    name: self.value(item, inner_shape(shape, name), numbers, (*path, name))
                    for name, item in value.items()
                }
            )
        if isinstance(value, list | tuple):
            return tuple(self.value(one, inner_shape(shape), numbers, path) for one in value)
        return value

    def _default(self, value: Value, path: tuple[str, ...]) -> Value:
        parameter = self.parameters.get(value.name) if isinstance(value, Get) else None
        if parameter is None or parameter.default in (ABSENT, None) or value.root != "Parameters":
            raise Unsayable(f"a number for {'.'.join(path)} that is only known at run time")
        self.fixed[".".join(path)] = parameter.name
        return parameter.default

    def text(self, value: Value) -> str:
        """A value as the text of a template."""
        match value:
            case str():
                return literal(value)
            case Get() | JsonGet():
                return f"{{{{ {self._expression(value)} }}}}"
            case Join(values, on):
                return literal("" if on is ABSENT else str(on)).join(map(self.text, values))
            case Template(text):
                return text
            case bool() | int() | float():
                return str(value)
        raise Unsayable("a list or an object inside a string")

    def json(self, value: Value) -> str:
        """A value as a template that renders to JSON, whatever the values of its expressions."""
        if isinstance(value, Mapping):
            items = (f"{self.json(name)}: {self.json(item)}" for name, item in value.items())
            return f"{{{', '.join(items)}}}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.json, value))}]"
        if isinstance(value, Template):
            return json.dumps(value.text)
        if not is_expression(value):
            return literal(json.dumps(value))
        expression = self._expression(value)
        return f"{{{{ {f'({expression})' if isinstance(value, Join) else expression} | tojson }}}}"

    def _expression(self, value: Value) -> str:
        """A value as a Jinja expression."""
        match value:
            case Get():
                return self._reference(value)
            case JsonGet():
                return self._file_value(value)
            case Join(values, on):
                between = f" ~ {on!r} ~ " if on else " ~ "
                return between.join(map(self._expression, values)) or "''"
            case str() | int() | float():
                return repr(str(value))
        raise Unsayable("a list or an object inside a string")

    def _reference(self, reference: Get) -> str:
        if reference.root == "Parameters" and len(reference.tokens) == 1:
            return f"params{_name(reference.name)}"
        if reference.text in _VARIABLES:
            return _VARIABLES[reference.text]
        if reference.root == "Steps" and (step := self.steps.get(reference.name)) is not None:
            return self._property(step, reference)
        raise Unsayable(f"the reference {shown(reference.text)}")

    def _property(self, step: Step, reference: Get) -> str:
        pulled = f"ti.xcom_pull({self.task_ids[step.name]!r})"
        tokens = reference.tokens[1:]
        if step.type in _XCOMS and tokens:
            return f"{pulled}{_XCOMS[step.type]}{_path(_positions(step, tokens))}"
        first = tokens[0] if tokens else None
        if step.type == "Lambda" and first == Member("OutputParameters") and len(tokens) > 1:
            return f"macros.json.loads({pulled}){_path(tokens[1:])}"
        if isinstance(first, Member) and (step.type, first.name) in _SINGLE:
            return f"{pulled}{_path(tokens[1:])}"
        raise Unsayable(f"the reference {shown(reference.text)}")

    def _file_value(self, value: JsonGet) -> str:
        file = None if value.property_file is ABSENT else value.property_file
        step = self.steps.get(file.name) if file is not None else None
        path = parse_tokens(_dotted(value.path)) if isinstance(value.path, str) else None
        if file is None or step is None or step.type != "Processing" or path is None:
            raise Unsayable("a value of a JSON file that no output_files_to_xcom has")
        pulled = f"ti.xcom_pull({self.task_ids[step.name]!r})"
        return f"{pulled}['OutputFiles'][{file.property_file!r}]{_path(path)}"


def literal(text: str) -> str:
    """Text that Jinja renders to itself."""
    return _MARKS.sub(lambda found: "{{ " + repr(found[0]) + " }}", text)


def _dotted(path: str) -> str:
    return path if path.startswith("[") else f".{path}"


def _path(tokens: tuple[Token, ...]) -> str:
    return "".join(
        f"[{one.position}]" if isinstance(one, Index) else f"[{one.name!r}]" for one in tokens
    )


def _name(name: str) -> str:
    return f".{name}" if name.isidentifier() and name.isascii() else f"[{name!r}]"


def _positions(step: Step, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """A path in which the items of lists are found by position."""
    found: list[Token] = []
    here: Value = step.arguments
    name = ""
    for token in tokens:
        if isinstance(here, list | tuple) and isinstance(token, Key):
            named = [one.get(_KEYED.get(name)) for one in here if isinstance(one, Mapping)]
            if token.name not in named:
                raise Unsayable(f"the item {shown(token.name)} of a list")
            position: Token = Index(named.index(token.name))
        else:
            position = token
        found.append(position)
        if isinstance(position, Index):
            at = position.position
            here = here[at] if isinstance(here, list | tuple) and at < len(here) else None
        else:
            here = here.get(position.name) if isinstance(here, Mapping) else None
            name = position.name
    return tuple(found)
