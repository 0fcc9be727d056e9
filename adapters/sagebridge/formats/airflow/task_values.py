"""Translate operator arguments into values of the model: Jinja templates, XComArgs, plain JSON.

Templates are parsed by Jinja and never rendered. Each expression in one is a parameter, the output
of a task, or a value that a pipeline does not have, such as a macro, a Variable or a filter. The
last is a :class:`RunTimeValue`: the caller's fallback replaces it by a parameter or raises it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple, TypeAlias

from sagebridge.authoring.request_shapes import ApiShape, inner_shape, parameter_type
from sagebridge.model.display import shown
from sagebridge.model.expressions import (
    Get,
    Index,
    Key,
    Member,
    Properties,
    Template,
    Token,
    execution,
    is_expression,
    join,
    parameter,
    plain,
)
from sagebridge.model.parameters import JSON_TYPES, Parameter, ParameterValueError, coerce_one
from sagebridge.model.values import Object, Value, same

RETURN_VALUE = "return_value"
Part: TypeAlias = "str | int"
Output: TypeAlias = "Callable[[str, tuple[Part, ...]], Value]"
"""The model value of a task's XCom, from its key and a path into it."""
_MARKS = ("{{", "{%", "{#")
_TO_NUMBER = ("int", "float")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAPS = frozenset(("Environment", "HyperParameters", "StaticHyperParameters", "return_value"))
"""Fields whose keys are user data, not fields of an AWS response."""
_KEYED = {"Outputs": "OutputName", "ProcessingInputs": "InputName"}
_RUN = {
    **dict.fromkeys(
        ("run_id", "dag_run.run_id", "ti.run_id", "task_instance.run_id"),
        execution.pipeline_execution_id,
    ),
    **dict.fromkeys(
        ("dag.dag_id", "dag_run.dag_id", "ti.dag_id", "task_instance.dag_id"),
        execution.pipeline_name,
    ),
}


class RunTimeValue(Exception):
    """A value that only Airflow knows, at run time.

    Attributes:
        code: the code of its loss.
        what: a noun phrase for messages, such as ``an Airflow Variable``.
        text: the expression in the file.
        type: the type that a parameter in its place needs.
        template: a template with this value; empty if no template has it.
    """

    def __init__(self, code: str, what: str, text: str = "", template: str = "") -> None:
        self.code, self.what, self.text, self.template = code, what, text, template
        self.type = "String"
        super().__init__(what)


class _Call(NamedTuple):
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


Fallback: TypeAlias = "Callable[[RunTimeValue], Value]"
"""Returns the replacement of a run-time value, or raises it."""


def reject(unknown: RunTimeValue) -> Value:
    """The fallback that accepts no run-time value."""
    raise unknown


def as_template(unknown: RunTimeValue) -> Value:
    """The fallback that keeps a template, which is rendered when the step runs."""
    if not unknown.template:
        raise unknown
    return Template(unknown.template)


@dataclass(slots=True)
class Values:
    """The values in one DAG.

    Attributes:
        types: the types of its parameters, by name.
        outputs: the XComs of its tasks.
        converted: the parameters that have another type than their Param.
        needed: by parameter, the types of request fields that its own type does not fit.
        used_as: the types of the request fields that references are for, by their text.
        loops: by task in a mapped group, the group.
        loop: the mapped group of the task that is read.
        lists: by task in a mapped group, the ForEach whose results are those of the task.
        mapped: by the id of a group's ``expand()``, the value of each argument.
        nullable: the parameters that may be null.
        own_params: the params of the task that is read that the DAG does not have.
    """

    dag: Any
    types: Mapping[str, str]
    outputs: dict[str, Output] = field(default_factory=dict)
    converted: Collection[str] = ()
    needed: dict[str, set[str]] = field(default_factory=dict)
    used_as: dict[str, str] = field(default_factory=dict)
    loops: dict[str, str] = field(default_factory=dict)
    loop: str | None = None
    lists: dict[str, str] = field(default_factory=dict)
    mapped: dict[int, Mapping[str, Value]] = field(default_factory=dict)
    nullable: Collection[str] = ()
    own_params: Mapping[str, Any] = field(default_factory=dict)
    _environment: Any = None
    _unsupported: list[Any] = field(default_factory=list)

    def of(
        self,
        value: Any,
        fallback: Fallback = reject,
        *,
        templated: bool = True,
        field: ApiShape | None = None,
        typed: bool = False,
    ) -> Value:
        """A value with its templates and references as expressions.

        ``field`` is the field of a request that it is for: strings become the number or Boolean
        that the field needs, as Airflow's operators convert them. With ``typed``, a template that
        is one expression has the type of that expression.
        """

        def inner(item: Any, name: str | None = None) -> Value:
            return self.of(
                item, fallback, templated=templated, field=inner_shape(field, name), typed=typed
            )

        type_ = parameter_type(field)
        match value:
            case float() if not math.isfinite(value):
                return fallback(
                    RunTimeValue("value", f"{value}, which is not a JSON number", str(value))
                )
            case None | bool() | int() | float():
                return value
            case str():
                if templated and not is_template(value):
                    found = self._rendered(value)
                    if field and not isinstance(found, str):  # its type decides
                        found = value
                    if not isinstance(found, str):
                        return self.of(found, fallback, templated=False)
                    return _converted(found, type_)
                return self._text(value, fallback, type_, typed) if templated else value
            case Mapping():
                return Object({str(name): inner(item, str(name)) for name, item in value.items()})
            case list() | tuple():
                return tuple(inner(item) for item in value)
            case Enum():
                return inner(value.value)
            case PurePath():
                return str(value)
        if isinstance(value, Properties) or is_expression(value):
            return plain(value)
        # Airflow's classes are matched by name, as this module must not import Airflow.
        if type(value).__name__ == "LiteralValue":
            return self.of(value.value, fallback, templated=False)
        try:
            return self._in_field(self._xcom(value), type_)
        except RunTimeValue as unknown:
            unknown.type = type_ or unknown.type
            return fallback(unknown)

    def _xcom(self, value: Any) -> Value:
        kind = type(value).__name__
        if kind == "DagParam":
            # DagParam has no public name (airflow/sdk/definitions/param.py).
            return self._parameter(value._name, value._name)
        if kind == "MappedArgument" and id(value._input) in self.mapped:
            # MappedArgument is private (airflow/sdk/definitions/_internal/expandinput.py).
            return self.mapped[id(value._input)][value._key]
        if kind != "PlainXComArg":
            what = "a mapped, zipped or concatenated XCom"
            if not hasattr(value, "iter_references"):
                what = f"a {kind}, which is not a JSON value"
            number = next(
                (at for at, one in enumerate(self._unsupported) if one is value),
                len(self._unsupported),
            )
            self._unsupported += [value] if number == len(self._unsupported) else []
            raise RunTimeValue("value", what, f"{kind}_{number + 1}" if number else kind)
        return self._output(value.operator.task_id, value.key, ())

    def _output(self, task: str, key: str, path: tuple[Part, ...]) -> Value:
        parts = path if key == RETURN_VALUE else (key, *path)
        text = ".".join(map(str, (task, *parts)))
        if self.loops.get(task, self.loop) != self.loop:
            if task in self.lists and key == RETURN_VALUE:
                found = (Member(self.lists[task]), Member(RETURN_VALUE))
                return Get("Steps", (*found, *tokens_of(None, path)))
            what = f"the list of the outputs of task {shown(task)}"
            raise RunTimeValue("mapped-task", what, text)
        pulled = f"{{{{ ti.xcom_pull(task_ids={task!r}, key={key!r}) }}}}"
        if task not in self.outputs:
            what = f"the output of task {shown(task)}"
            raise RunTimeValue("xcom", what, text, "" if path else pulled)
        try:
            return self.outputs[task](key, path)
        except RunTimeValue as unknown:
            template = "" if path else pulled
            raise RunTimeValue(unknown.code, unknown.what, text, template) from None

    def _text(self, text: str, fallback: Fallback, type_: str | None, typed: bool) -> Value:
        def typed_fallback(unknown: RunTimeValue) -> Value:
            unknown.type = type_ or unknown.type
            return fallback(unknown)

        try:
            pieces = list(self.pieces(text, typed_fallback, _TO_NUMBER if type_ else ()))
        except RunTimeValue as unknown:
            return typed_fallback(unknown)
        if len(pieces) == 1:
            one = pieces[0]
            if type_ and isinstance(one, Get):
                self.used_as[one.text] = type_
            return one if typed else self._in_field(one, type_) if type_ else self.as_text(one)
        parts: list[Value] = []
        for piece in pieces:
            if not is_expression(piece) and parts and isinstance(parts[-1], str):
                parts[-1] += str(piece)
            elif not isinstance(piece, str) or piece:
                parts.append(piece if is_expression(piece) else str(piece))
        if all(isinstance(part, str) for part in parts):
            return _converted("".join(parts), type_)
        if type_ is not None:  # Std:Join makes a string
            what = f"{'an' if type_ == 'Integer' else 'a'} {type_} built from several parts"
            return typed_fallback(RunTimeValue("template", what, text))
        return join("", *parts)

    def _rendered(self, text: str) -> Any:
        """A string without a template, as Airflow renders it.

        Jinja removes a newline at the end; a DAG with native types makes ``"3"`` the number 3.
        """
        changes = self.native or "\r" in text or text.endswith("\n")
        return self._jinja.from_string(text).render() if changes else text

    def _in_field(self, value: Value, type_: str | None) -> Value:
        """A value in a field of a request that needs a type; any type if None."""
        if isinstance(value, str):
            return _converted(value, type_)
        if isinstance(value, Get) and value.root == "Parameters" and value.name in self.types:
            own = self.types[value.name]
            if type_ is None:
                return join("", value) if value.name in self.converted else value
            if own != type_ and (own, type_) != ("Integer", "Float"):
                self.needed.setdefault(value.name, set()).add(type_)
        return value

    def as_text(self, value: Value) -> Value:
        """The value of a template that is one expression: a string unless types are native."""
        if self.native:
            return value
        if not is_expression(value):
            return str(value)
        if isinstance(value, Get) and value.root == "Parameters":
            is_text = self.types.get(value.name, "String") == "String"
            return value if is_text and value.name not in self.nullable else join("", value)
        return value

    @property
    def native(self) -> bool:
        """Whether the DAG renders templates to native Python types."""
        return bool(getattr(self.dag, "render_template_as_native_obj", False))

    def pieces(
        self, text: str, fallback: Fallback, ignored: Collection[str] = ()
    ) -> Iterator[Value]:
        """The literal parts of a template and the values of its expressions, in order.

        ``ignored`` are Jinja filters that do not change what the caller makes of a value.
        """
        from jinja2 import TemplateError

        raw: list[str] | None = None
        try:
            tokens = list(self._jinja.lexer.tokeniter(text, None))
            self._jinja.parse(text)
        except TemplateError as error:
            raise RunTimeValue(
                "template", f"a template with a syntax error ({error})", text
            ) from None
        for _, kind, part in tokens:
            if kind == "variable_begin":
                raw = []
            elif kind == "variable_end" and raw is not None:
                yield self._template_value("".join(raw).strip(), fallback, ignored)
                raw = None
            elif raw is not None:
                raw.append(part)
            elif kind == "data":
                yield part
            elif kind == "block_begin":
                own = self._own_name(text)
                what = own or "a template with Jinja statements"
                raise RunTimeValue("macro" if own else "template", what, text, "" if own else text)

    def _template_value(self, text: str, fallback: Fallback, ignored: Collection[str]) -> Value:
        try:
            found = self.expression(text, ignored)
            if isinstance(found, Object):
                raise RunTimeValue("xcom", "the whole XCom of a task", text)
        except RunTimeValue as unknown:
            template = f"{{{{ {text} }}}}"
            if own := self._own_name(template):
                return fallback(RunTimeValue("macro", own, unknown.text or text))
            return fallback(
                RunTimeValue(unknown.code, unknown.what, unknown.text or text, template)
            )
        return found

    def _own(self, kind: str) -> Mapping[str, Any]:
        """The macros or filters that the DAG itself defines."""
        return getattr(self.dag, f"user_defined_{kind}", None) or {}

    def _own_name(self, template: str) -> str:
        """The macro or filter of the DAG itself that a template uses, for messages."""
        from jinja2 import nodes

        tree = self._jinja.parse(template)
        for kind, node, own in (
            ("macro", nodes.Name, self._own("macros")),
            ("filter", nodes.Filter, self._own("filters")),
        ):
            for one in tree.find_all(node):
                if one.name in own:
                    return f"the user-defined {kind} {shown(one.name)}"
        return ""

    @property
    def _jinja(self) -> Any:
        if self._environment is None:
            self._environment = self.dag.get_template_env()
        return self._environment

    def expression(self, text: str, ignored: Collection[str] = ()) -> Value:
        """The value of the expression between ``{{`` and ``}}``."""
        from jinja2 import TemplateError

        try:
            (output,) = self._jinja.parse(f"{{{{ {text} }}}}").body
            (node,) = output.nodes
        except (TemplateError, ValueError):
            raise RunTimeValue("template", "an invalid Jinja expression", text) from None
        if type(node).__name__ == "Filter" and node.name in ignored:
            node = node.node
        return self._evaluate(node, text)

    def _evaluate(self, node: Any, text: str) -> Value:
        match type(node).__name__:
            case "Const":
                return node.value
            case "TemplateData":
                return node.data
            case "Concat":
                return join("", *(self._evaluate(part, text) for part in node.nodes))
            case "Filter":
                raise RunTimeValue("filter", f"the Jinja filter {node.name!r}", text)
            case "Name" | "Getattr" | "Getitem" | "Call":
                return self._lookup(_chain(_parsed(node)), text)
        raise RunTimeValue("template", "a computed Jinja expression", text)

    def _lookup(self, chain: Sequence[Any], text: str) -> Value:
        match list(chain):
            case ["params", str(name)] | ["params", "get", _Call((str(name), *_), _)]:
                own = self.own_params.get(name)
                return own if isinstance(own, str | int) else self._parameter(name, text)
            case ["dag_run", "conf", str(name)] if name != "get":
                return self._parameter(name, text)
            case ["dag_run", "conf", "get", _Call((str(name), *default), _)]:
                self._check_default(name, default, text)
                return self._parameter(name, text)
            case ["ti" | "task_instance", "xcom_pull", _Call() as call, *path]:
                return self._pulled(call, tuple(path), text)
            case ["var", *_]:
                raise RunTimeValue("variable", "an Airflow Variable", text)
            case ["conn", *_]:
                raise RunTimeValue("connection", "an Airflow Connection", text)
            case [str(name)] if isinstance(
                value := self._own("macros").get(name), str | int | float
            ):
                return value
            case ["params" | None, *_]:
                raise RunTimeValue("template", "a computed Jinja expression", text)
            case ["ti" | "task_instance", *rest] if None in rest:
                raise RunTimeValue("template", "a computed Jinja expression", text)
        if all(isinstance(one, str) for one in chain) and (known := ".".join(chain)) in _RUN:
            return _RUN[known]
        raise RunTimeValue("macro", "a value that only Airflow knows", text)

    def _parameter(self, name: str, text: str) -> Value:
        if name in self.own_params or name not in self.types:
            what = f"the undeclared param {shown(name)}"
            raise RunTimeValue("parameter", what, name if _WORD.fullmatch(name) else text)
        if text != name and not self.native and self.types[name] in JSON_TYPES.values():
            raise RunTimeValue("template", "a list or dict as a string", text)
        return parameter(name)

    def _check_default(self, name: str, default: Sequence[Any], text: str) -> None:
        """Raise if a default for ``dag_run.conf`` differs from the default of the DAG's param."""
        if name in self.types and default:
            param = self.dag.params.get_param(name)
            if not (param.has_value and same(param.value, default[0])):
                what = f"a default that differs from that of the param {shown(name)}"
                raise RunTimeValue("parameter", what, text)

    def _pulled(self, call: _Call, path: tuple[Any, ...], text: str) -> Value:
        arguments = dict(zip(("task_ids", "dag_id", "key"), call.arguments, strict=False))
        arguments.update(call.keywords)
        tasks, key = arguments.pop("task_ids", None), arguments.pop("key", RETURN_VALUE)
        own = arguments.pop("dag_id", None) in (None, self.dag.dag_id)
        if isinstance(tasks, list) and len(tasks) == 1 and path[:1] == (0,):
            tasks, path = tasks[0], path[1:]
        plain_path = all(isinstance(part, str) or part in range(10**6) for part in path)
        if not own or arguments or not isinstance(tasks, str) or not plain_path:
            raise RunTimeValue("xcom", "an unsupported xcom_pull", text)
        return self._output(tasks, key, path)


def _converted(text: str, type_: str | None) -> Value:
    """A string as the number or Boolean that a field needs; unchanged if it is not one."""
    if type_ is None:
        return text
    try:
        return coerce_one(Parameter("", type_), text)
    except ParameterValueError:
        return text


def _parsed(node: Any) -> Any:
    """``macros.json.loads(x)["a"]`` as ``x["a"]``: a step has the parsed result of a function."""
    from jinja2 import nodes

    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return node
    match node.node:
        case nodes.Call(node=called, args=[value]) if _chain(called) == ["macros", "json", "loads"]:
            inner = value
        case other:
            inner = _parsed(other)
    if isinstance(node, nodes.Getattr):
        return nodes.Getattr(inner, node.attr, node.ctx)
    return nodes.Getitem(inner, node.arg, node.ctx)


def _chain(node: Any) -> list[Any]:
    """``a.b['c'](d)`` as ``["a", "b", "c", call]``; None replaces a part that is not constant."""
    from jinja2 import nodes

    links: list[Any] = []
    while not isinstance(node, nodes.Name):
        links.append(_link(node))
        if not isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Call):
            return list(reversed(links))
        node = node.node
    return [node.name, *reversed(links)]


def _link(node: Any) -> Any:
    from jinja2 import nodes

    try:
        match type(node).__name__:
            case "Getattr":
                return node.attr
            case "Getitem":
                return node.arg.as_const()
            case "Call" if node.dyn_args is None and node.dyn_kwargs is None:
                arguments = tuple(one.as_const() for one in node.args)
                return _Call(arguments, {one.key: one.value.as_const() for one in node.kwargs})
    except nodes.Impossible:
        pass
    return None


def tokens_of(config: Any, path: Sequence[Part]) -> tuple[Token, ...]:
    """A path into a Describe response as tokens.

    ``config`` is the request that created the resource. A list item is found by name if the request
    names it.
    """
    tokens: list[Token] = []
    name = ""
    for part in path:
        if isinstance(part, int):
            item = config[part] if isinstance(config, list) and -1 < part < len(config) else {}
            key = item.get(_KEYED.get(name)) if isinstance(item, Mapping) else None
            literal = isinstance(key, str) and not any(mark in key for mark in _MARKS)
            tokens.append(Key(str(key)) if literal else Index(part))
            config, name = item, ""
        else:
            plain_name = _WORD.fullmatch(part) is not None and name not in _MAPS
            tokens.append(Member(part) if plain_name else Key(part))
            config = config.get(part) if isinstance(config, Mapping) else None
            name = part
    return tuple(tokens)


def json_path(path: Sequence[Part]) -> str:
    """A path into a JSON document, as ``Std:JsonGet`` takes it."""
    return "".join(str(token) for token in tokens_of(None, path)).removeprefix(".")


def identifier(text: str) -> str:
    """A parameter name made from a template expression, such as ``var_value_bucket``."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:64] or "value"


def is_template(text: str) -> bool:
    return any(mark in text for mark in _MARKS)
