"""The source of user functions, with the part of their module that they reach."""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from keyword import iskeyword
from types import FunctionType, MethodType
from typing import Any

from sagebridge.formats.python.engine_imports import original, refused_imports
from sagebridge.formats.python.module_effects import Definition
from sagebridge.formats.python.module_slice import (
    Module,
    NotSelfContained,
    Statement,
    Target,
    module_of,
    signature_names,
    statement_of,
)
from sagebridge.formats.python.statement_text import (
    LITERALS,
    at_margin,
    joined,
    plain_definition,
    sorted_imports,
    statement_text,
)
from sagebridge.model.display import free_name
from sagebridge.model.functions import Function
from sagebridge.model.parameters import PYTHON_TYPES
from sagebridge.model.values import EMPTY

__all__ = [
    "NotSelfContained",
    "function_text",
    "of_class",
    "of_definition",
    "of_function",
    "of_name",
    "renamed",
]


def of_function(
    function: Any, *, decorated: bool = False, name: str = "", file: str = ""
) -> Function:
    """The source of a live callable, with the part of its module that it reaches.

    Args:
        function: a function, lambda, method, partial or class.
        decorated: allows one decorator, which is removed; those of an engine are removed anyway.
        name: the name for a callable without one, such as a lambda.
        file: the file that uses it. A function of another module is imported from there.

    Raises :class:`NotSelfContained`.
    """
    module_name = str(getattr(function, "__module__", "") or "")
    if module_name.partition(".")[0] == "sagebridge_operators" and ".functions" in module_name:
        return Function(function.__name__, "", imported_from=module_name)
    if isinstance(function, functools.partial):
        return _bound(function.func, name, _partial_text(function), file)
    if isinstance(function, MethodType):
        return _method(function, name, file)
    if isinstance(function, staticmethod):
        function = function.__func__
    plain = inspect.unwrap(function) if callable(function) else function
    if not isinstance(plain, FunctionType):
        call = type(function).__call__ if callable(function) else None
        if isinstance(call, FunctionType):
            return _named_object(function, call)
        return _imported_callable(function)
    source, node = _definition_of(plain)
    if isinstance(node, ast.Lambda):
        return _of_lambda(plain, node, source, name)
    assert isinstance(node, Definition)
    if _wrappings(function) > len(module_of(source).without_engine_decorators(node)):
        raise NotSelfContained("has another decorator")
    live = _live_names(plain)
    own_file = plain.__code__.co_filename
    try:
        found = of_definition(node, source, decorated=decorated, live=live, function=plain)
    except NotSelfContained:
        if file and own_file != file:
            return _imported_callable(plain)
        raise
    if found.module and file and own_file != file:
        return _imported_callable(plain)
    if not _has_its_defaults(plain, node):
        raise NotSelfContained("has defaults that differ from its source")
    return found


def _wrappings(function: Any) -> int:
    """How many decorators a callable has that leave a trace (``functools.wraps``)."""
    count = 0
    while hasattr(function, "__wrapped__"):
        function, count = function.__wrapped__, count + 1
    return count


def _definition_of(function: FunctionType) -> tuple[str, ast.stmt | ast.Lambda]:
    code = function.__code__
    try:
        source = "".join(inspect.findsource(code)[0])
        module = module_of(source)
    except (OSError, SyntaxError, TypeError, ValueError):
        raise NotSelfContained("has no readable source") from None
    node: ast.stmt | ast.Lambda | None
    if function.__name__ == "<lambda>":
        node = module.only_lambda(code.co_firstlineno)
    else:
        node = module.definition(code.co_name, code.co_firstlineno)
    if node is None:
        raise NotSelfContained("has no readable source")
    return source, node


def _live_names(function: FunctionType) -> dict[str, Any]:
    """The values of names in the scopes around a live function."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    closure = {}
    for name, cell in cells:
        with suppress(ValueError):  # an empty cell
            closure[name] = cell.cell_contents
    return {**function.__globals__, **closure}


def _imported_callable(function: Any) -> Function:
    """A callable of another module, which the written file imports from there."""
    module, name = getattr(function, "__module__", "") or "", getattr(function, "__name__", "")
    owner = getattr(function, "__objclass__", None) or getattr(function, "__self__", None)
    if owner is str or type(owner) is str:
        made = f"str_{name}"
        return Function(
            made, "", module=f"{made} = {'str' if owner is str else repr(owner)}.{name}"
        )
    if not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not function:
        raise NotSelfContained("is not a function, lambda or class that its module has by name")
    node = ast.ImportFrom(module, [ast.alias(name)], 0)
    if problem := refused_imports(node):
        raise NotSelfContained(problem)
    return Function(name, "", module="" if module == "builtins" else ast.unparse(node))


def _partial_text(function: functools.partial[Any]) -> str:
    given = [repr(one) for one in function.args]
    given += [f"{name}={value!r}" for name, value in function.keywords.items()]
    if not all(isinstance(one, LITERALS) for one in (*function.args, *function.keywords.values())):
        raise NotSelfContained("has arguments that are not literals (functools.partial)")
    return f"functools.partial({{name}}, {', '.join(given)})"


def _bound(inner: Any, name: str, text: str, file: str) -> Function:
    """A name that is assigned an expression of an inner function."""
    found = of_function(inner, decorated=True, file=file)
    name = name or f"{found.name}_partial"
    own = found.module or found.text or found.code
    assigned = f"{name} = {text.format(name=found.name)}"
    return Function(name, "", module=joined(["import functools", own, assigned]))


def _named_object(found: Any, method: FunctionType) -> Function:
    """An object with ``__call__`` that a name of its module has, or that a call makes."""
    known = _live_names(inspect.unwrap(method))
    variable = next((one for one, value in known.items() if value is found), None)
    source, _ = _definition_of(inspect.unwrap(method))
    if variable is not None:
        return Function(variable, "", module=module_of(source).named([variable], known).text())
    if not (made := _construction(found)):
        raise NotSelfContained("is an object that no name of its module has")
    cls = type(found).__name__
    part, name = (
        module_of(source).named([cls], known),
        f"{cls.lower()}_{method.__name__.strip('_')}",
    )
    return Function(name, "", module=part.text(f"{name} = {made}"))


def _method(method: MethodType, name: str, file: str) -> Function:
    """A method of a class, or of an object that a name of its module has or a call makes."""
    owner, function = method.__self__, inspect.unwrap(method.__func__)
    known = getattr(function, "__globals__", {})
    variable = next((one for one, value in known.items() if value is owner), type(owner).__name__)
    source, _ = _definition_of(function)
    try:
        part, made = module_of(source).named([variable], known), variable
        if known.get(variable) is not owner:
            raise NotSelfContained("is a method of an object that no name of its module has")
    except NotSelfContained:
        variable = type(owner).__name__
        if not (made := _construction(owner)):
            raise
        part = module_of(source).named([variable], known)
    wanted = (name, method.__name__, f"{variable}_{method.__name__}")
    name = next(one for one in wanted if one and one not in part.names and not iskeyword(one))
    return Function(name, "", module=part.text(f"{name} = {made}.{method.__name__}"))


def _construction(found: Any) -> str:
    """A call that makes such an object, if that keeps its arguments; otherwise empty."""
    cls, own, missing = type(found), getattr(found, "__dict__", {}), object()
    given = {}
    try:
        for one in inspect.signature(cls).parameters.values():
            value = own.get(one.name, own.get(f"_{one.name}", missing))
            if value is not missing and value != one.default:
                given[one.name] = value
        made = vars(cls(**given))
    except Exception:  # noqa: BLE001 - code of the user
        return ""
    kept = own.keys() == made.keys() and all(_is_alike(own[name], made[name]) for name in own)
    if not kept or not all(map(_is_literal, given.values())):
        return ""
    return f"{cls.__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _is_alike(one: Any, other: Any) -> bool:
    """Whether literals are equal, and other values of one class; boto3 makes one per client."""
    if isinstance(one, LITERALS):
        return bool(one == other)
    return type(one).__qualname__ == type(other).__qualname__


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (SyntaxError, ValueError):
        return False


def of_class(cls: type) -> Function:
    """A class with the part of its module that it reaches. Raises :class:`NotSelfContained`.

    It is carried from any module: with classes of an engine in it, it cannot be imported elsewhere.
    """
    method = next(one for one in vars(cls).values() if isinstance(one, FunctionType))
    source, _ = _definition_of(inspect.unwrap(method))
    module = module_of(source)
    if not module.scope.binding(cls.__name__):
        raise NotSelfContained(f"is of the class {cls.__name__}, which is not a name of its module")
    return Function(
        cls.__name__, "", module=module.named([cls.__name__], _live_names(method)).text()
    )


def _of_lambda(function: FunctionType, node: ast.Lambda, source: str, name: str) -> Function:
    """A lambda as a function, unless a name of its module has it."""
    module, live = module_of(source), _live_names(function)
    for one in module.scope.statements:
        match one.node:
            case ast.Assign(targets=[ast.Name(id=variable)], value=value) if value is node:
                part = module.named([variable], live)
                return Function(variable, "", module=part.text())
    top = (one.binds for one in module.scope.statements if one.top)
    used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}.union(*top)
    name = f"lambda_{node.lineno}" if not name or iskeyword(name) else name
    name = free_name(name, used)
    node = copy.deepcopy(place := node)
    _set_scope_defaults(function, node.args, module)
    head = f"def {name}({ast.unparse(node.args)}):\n    return "
    text = head + at_margin(ast.get_source_segment(source, node.body) or "")
    (definition,) = ast.parse(head + ast.unparse(node.body)).body
    is_same = False
    with suppress(SyntaxError):
        is_same = ast.dump(ast.parse(text)) == ast.dump(ast.Module([definition], []))
    text = text if is_same else ast.unparse(definition)
    ast.copy_location(definition, node)
    return _carried(module, place, definition, text, live)


def function_text(function: Any) -> str:
    """The source of a live function, for people; empty if it is not known."""
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError, ValueError):
        return ""


def of_definition(
    definition: Any,
    source: str,
    *,
    decorated: bool = False,
    live: Mapping[str, Any] = EMPTY,
    function: FunctionType | None = None,
) -> Function:
    """The function of a ``def`` statement of a source. Raises :class:`NotSelfContained`.

    ``live`` has the values of names for which the source has no statement, and ``function`` those
    of the defaults.
    """
    if not isinstance(definition, Definition):
        raise NotSelfContained("is not a plain function")
    module = module_of(source)
    first = min([definition.lineno, *(one.lineno for one in definition.decorator_list)])
    node = module.definition(definition.name, first)
    assert isinstance(node, Definition)
    kept = [
        one
        for one in module.without_engine_decorators(node)
        if not (isinstance(one, ast.Name) and one.id == "staticmethod")
    ]
    if decorated and len(kept) == len(node.decorator_list):
        kept = kept[1:]
    plain = plain_definition(node)
    plain.decorator_list = kept
    text = statement_text(node, source, kept)
    if function is not None and _set_scope_defaults(function, plain.args, module):
        text = ast.unparse(plain)
    try:
        return _carried(module, node, plain, text, live)
    except NotSelfContained:
        bare = _without_annotations(plain)
        text = _unannotated(text, node) if text else ""
        return _carried(module, node, bare, text, live)


def of_name(name: str, source: str) -> Function:
    """The callable that a module-level name has. Raises :class:`NotSelfContained`."""
    module = module_of(source)
    binding = module.scope.binding(name)
    match binding:
        case [Statement(node=ast.FunctionDef() | ast.AsyncFunctionDef() as node)]:
            return of_definition(node, source)
        case [Statement(node=ast.ImportFrom(module=str() as package, names=names))] if (
            ".functions" in package and package.startswith("sagebridge_operators.")
        ):
            alias = next(one for one in names if name in (one.asname, one.name))
            return Function(alias.name, "", imported_from=package)
        case []:
            if hasattr(builtins, name):
                return Function(name, "")
            raise NotSelfContained("is not a name of its module")
    return Function(name, "", module=_original(module.named([name], {}).text()))


def _carried(
    module: Module, node: ast.AST, plain: Any, text: str, live: Mapping[str, Any]
) -> Function:
    """The function ``plain``, which is ``text``, in the place of a node of its module."""
    statement = statement_of(plain, postponed=module.postponed)
    part = module.reached(Target(node, statement, text), live)
    bare = copy.copy(plain)
    bare.decorator_list = []
    code, returns = original(ast.unparse(bare)), _returns(plain.returns)
    ignored = part.ignored & signature_names(plain)
    if ignored:
        raise NotSelfContained(f"uses {', '.join(sorted(ignored))} in its annotations")
    is_alone = part.is_alone and not plain.decorator_list
    around = "" if is_alone and len(part.found) == 1 else _original(part.text())
    return Function(plain.name, code, original(text) if is_alone else "", returns, around)


def _original(text: str) -> str:
    """A module as it was where it came from; the order of its imports follows from their names."""
    text = original(text)
    return joined(sorted_imports([statement_text(one, text) for one in ast.parse(text).body]))


def _returns(annotation: ast.expr | None) -> str:
    match annotation:
        case ast.Name(id=name) | ast.Constant(value=str() as name):
            return PYTHON_TYPES.get(name, "")
    return ""


def renamed(function: Function, name: str) -> Function:
    """The function under another name, recursive calls included; its text keeps its layout."""
    if name == function.name:
        return function
    definition = ast.parse(function.code).body[0]
    assert isinstance(definition, Definition)
    definition.name = name
    for node in _own_names(definition, function.name):
        node.id = name
    code = ast.unparse(definition)
    return Function(name, code, _renamed_text(function, name, code), function.returns)


def _own_names(definition: Definition, name: str) -> Iterator[ast.Name]:
    """The nodes that refer to the function itself; none if it has a local name like its own."""
    found = [one for one in ast.walk(definition) if isinstance(one, ast.Name) and one.id == name]
    arguments = (one.arg for one in ast.walk(definition) if isinstance(one, ast.arg))
    if name not in arguments and all(isinstance(one.ctx, ast.Load) for one in found):
        yield from found


def _renamed_text(function: Function, name: str, code: str) -> str:
    """The text under another name; empty if it does not mean ``code``.

    Before Python 3.12, the names in f-strings have no positions, so that the check fails.
    """
    if not function.text:
        return ""
    definition = ast.parse(function.text).body[0]
    assert isinstance(definition, Definition)
    lines = function.text.encode().split(b"\n")
    old, new = function.name.encode(), name.encode()
    header = re.match(rb"\s*(?:async\s+)?def\s+", lines[definition.lineno - 1])
    places = [(one.lineno, one.col_offset) for one in _own_names(definition, function.name)]
    places += [(definition.lineno, header.end())] if header else []
    for line, column in sorted(set(places), reverse=True):
        code_line = lines[line - 1]
        if code_line[column : column + len(old)] != old:
            return ""
        lines[line - 1] = code_line[:column] + new + code_line[column + len(old) :]
    text = b"\n".join(lines).decode()
    (again,) = ast.parse(text).body
    same = (
        isinstance(again, ast.FunctionDef)
        and ast.unparse(plain_definition(again, decorators=False)) == code
    )
    return text if same else ""


def _has_its_defaults(function: FunctionType, definition: Definition) -> bool:
    """Whether the literal defaults of a ``def`` are those of the live function."""
    said, live = definition.args.defaults, function.__defaults__ or ()
    named = {
        one.arg: default
        for one, default in zip(
            definition.args.kwonlyargs, definition.args.kw_defaults, strict=True
        )
        if default is not None
    }
    live_named = function.__kwdefaults__ or {}
    if len(said) != len(live) or named.keys() != live_named.keys():
        return False
    pairs = (*zip(said, live, strict=True), *((named[one], live_named[one]) for one in named))
    return all(_may_be(default, value) for default, value in pairs)


def _may_be(default: ast.expr, value: object) -> bool:
    try:
        literal = ast.literal_eval(default)
    except (ValueError, TypeError):
        return True
    return type(literal) is type(value) and repr(literal) == repr(value)


def _set_scope_defaults(function: FunctionType, given: ast.arguments, module: Module) -> bool:
    """Replace defaults that use names of the scope around a function by their literal values.

    Returns whether there are any, as in a loop that makes tasks.
    """
    found = False
    for at, value in enumerate(function.__defaults__ or ()):
        names = {one.id for one in ast.walk(given.defaults[at]) if isinstance(one, ast.Name)}
        known = (module.scope.binding(name) or hasattr(builtins, name) for name in names)
        if isinstance(value, LITERALS) and not all(known):
            given.defaults[at] = ast.parse(repr(value), mode="eval").body
            found = True
    return found


def _without_annotations(definition: Definition) -> Definition:
    """A copy without the annotations of its signature, which calls do not need."""
    bare = copy.deepcopy(definition)
    bare.returns = None
    for argument in _arguments(bare):
        argument.annotation = None
    return bare


def _unannotated(text: str, definition: Definition) -> str:
    """The text of a function without the annotations of its signature."""
    try:
        (own,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        return ""
    assert isinstance(own, Definition)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def offset(line: int | None, column: int | None) -> int:
        return starts[(line or 1) - 1] + (column or 0)

    cuts = [
        (offset(one.lineno, one.col_offset) + len(one.arg.encode()), one.annotation)
        for one in _arguments(own)
        if one.annotation is not None
    ]
    data = text.encode()
    if own.returns is not None:
        returns = offset(own.returns.lineno, own.returns.col_offset)
        arrow = data.rindex(b"->", 0, returns)
        cuts.append((len(data[:arrow].rstrip()), own.returns))
    for start, annotation in sorted(cuts, key=lambda cut: cut[0], reverse=True):
        end = offset(annotation.end_lineno, annotation.end_col_offset)
        # PEP 8: spaces around the "=" of a default only after an annotation.
        data = data[:start] + re.sub(rb"^[ \t]*=[ \t]*", b"=", data[end:])
    return data.decode()


def _arguments(definition: Definition) -> Iterator[ast.arg]:
    given = definition.args
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if one is not None:
            yield one
