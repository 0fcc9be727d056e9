"""Write a Prefect flow file that reads like a hand-written one.

Parameters are the flow's arguments. There is one call per step in dependency order, and a ``with``
block per branch of a condition. Settings that Prefect does not have are arguments of the step
functions or, for the whole pipeline, of ``begin``, so that nothing is lost.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from sagebridge.authoring.file_arguments import file_arguments
from sagebridge.authoring.flow_settings import ENGINE_ARGUMENTS, FLOW_ARGUMENTS, written_settings
from sagebridge.authoring.flow_signature import FlowArgument, arguments_of, describe
from sagebridge.authoring.pipeline_builder import legal_name
from sagebridge.authoring.plain_cron import plain_cron
from sagebridge.authoring.prefect_schedules import schedule_losses
from sagebridge.authoring.value_types import json_annotation
from sagebridge.formats.python.blocks import Block, blocks_text, guarded_block, indented
from sagebridge.formats.python.constant_loops import rolled
from sagebridge.formats.python.engine_losses import engine_losses
from sagebridge.formats.python.source_code import Names, array, call, literal, source
from sagebridge.formats.python.step_calls import (
    NESTED_BLOCKS,
    PREFECT_NAMES,
    Functions,
    StepSource,
    absent_arguments,
    carried_names,
    comments_of,
    description_of,
    file_text,
    import_from,
)
from sagebridge.model.code_steps import AWS_CALL, PYTHON, SHELL, STUB, CarriedStep
from sagebridge.model.connections import (
    PREFECT_ARGUMENTS,
    for_prefect,
    own_connections,
    shared_connection,
)
from sagebridge.model.graph import in_order
from sagebridge.model.limits import FIELD_ARGUMENTS, is_portable
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.schedules import Schedule
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY

PACKAGE = "sagebridge_operators.prefect"
_RUNNER = "ThreadPoolTaskRunner"
_TYPES = ("Annotated", "Field", "Literal", "str", "int", "float", "bool", "list", "dict")
_FIXED_NAMES = ("flow", _RUNNER, "sys", *_TYPES)
"""The names that the code around the steps may use."""
_MODULES = {
    "Annotated": "typing",
    "Field": "pydantic",
    "Literal": "typing",
    "flow": "prefect",
    _RUNNER: "prefect.task_runners",
    "sys": "sys",
}
"""The modules of the names that are not imported from ``PACKAGE``, in the order of imports."""
_IMPORTABLE = frozenset((*PREFECT_NAMES, *(row.function for row in OPERATOR_TYPES.values())))
_CODE_FUNCTIONS = {PYTHON: "python", SHELL: "shell", STUB: "stub", AWS_CALL: "aws_call"}
"""The function of each kind of carried step."""
_GUARDS = {"if_steps": "met", "else_steps": "unmet", "body": "body"}
"""The method that opens the ``with`` block of each field with steps."""
_NONE = ast.Constant(None)


def write(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """A flow file, and the losses: parts of the pipeline that Prefect cannot run.

    The file has a comment for each of these losses, and for those of ``reading`` the pipeline.
    """
    losses = (*engine_losses(pipeline, "prefect"), *schedule_losses(pipeline))
    file = FlowFileWriter(pipeline, (*reading, *losses))
    text = file.text()
    if file.functions.renamed:  # the names that the file imports are known now
        taken = (*_FIXED_NAMES, *file.names.imported)
        text = FlowFileWriter(pipeline, file.all_losses, taken).text()
    return text, losses


@dataclass(frozen=True, slots=True)
class _StepBlock:
    """A step's call, its variable, and the ``with`` blocks of the steps inside it.

    ``outer`` is set if only the ``with`` blocks are written here: the block that holds the call.
    """

    variable: str
    call: ast.Call
    comments: Sequence[str]
    branches: Mapping[str, Sequence[_StepBlock]]
    outer: str = ""

    def used(self) -> Iterator[str]:
        """The variables of the steps whose ``with`` blocks it contains."""
        if self.branches:
            yield self.variable
        for block in chain.from_iterable(self.branches.values()):
            yield from block.used()

    def blocks(self) -> Iterator[Block]:
        """Its statements."""
        comments: tuple[str, ...] = ()
        if self.outer:
            here = f"# sagebridge: {self.variable} is in {self.outer}: its branches follow here."
            comments = (here,)
        else:
            target = ast.Name(self.variable, ast.Store())
            yield Block(ast.Assign([target], self.call, lineno=0), self.comments)
        for guard, steps in self.branches.items():
            inside = [one for step in steps for one in step.blocks()]
            yield guarded_block(self.variable, guard, inside, comments)
            comments = ()


@dataclass(frozen=True, slots=True)
class _Deferred:
    """A step whose blocks are too deep to be nested; ``outer`` is the block it is in."""

    step: Step
    block: _StepBlock
    outer: str


class FlowFileWriter:
    """Writes one flow file. No carried function has one of the names ``taken``."""

    def __init__(
        self,
        pipeline: Pipeline,
        losses: Sequence[Loss] = (),
        taken: Collection[str] = _IMPORTABLE,
    ) -> None:
        self.pipeline, self.all_losses = pipeline, losses
        self.name = pipeline.name or "pipeline"
        self.comments = comments_of(pipeline, losses)
        # Pydantic rejects bool: bool = True if annotations are not evaluated at once.
        avoided = _IMPORTABLE | carried_names(pipeline) | frozenset(_TYPES)
        self.arguments, self.details = arguments_of(pipeline.declared, avoided)
        own = [argument.name for argument in self.arguments]
        self.functions = Functions(pipeline, (*own, *taken), "prefect")
        reserved = _IMPORTABLE | self.functions.names
        foreign = self.functions.foreign(_MODULES, PACKAGE)
        self.names = Names(reserved.union(own), foreign)
        self.function = Names(reserved=reserved).variable(self.name)
        self.steps = StepSource(self.names)
        self.connections = own_connections(pipeline)
        self._deferred: deque[_Deferred] = deque()

    @property
    def flow_name(self) -> str:
        """The name of the flow in Prefect."""
        return legal_name(self.name)

    def text(self) -> str:
        """The source."""
        begin, blocks = list(self._begin()), list(self._top_blocks())
        used = self.steps.expressions.used.union(*(block.used() for block in blocks))
        finish = self.names.use("finish")
        missing = absent_arguments(self.names) | dict.fromkeys(ENGINE_ARGUMENTS, _NONE)
        steps = [one for block in blocks for one in block.blocks()]
        unused = frozenset(self.names.variables.values()) - used
        own = rolled(steps, self.names, missing, self.functions, unused)
        body = [*map(Block, begin), *own, Block(ast.Return(call(finish)))]
        flow = f"{self._head()}\n{indented(blocks_text(body))}"
        flow = "\n".join((*self.comments.get("", ()), flow)) + f"\n\n{self._main()}"
        return file_text("a Prefect flow", self.pipeline, self._imports(), self.functions, flow)

    def _main(self) -> str:
        """The block that runs the flow for ``python FILE``.

        Required arguments are read from the command line; Prefect converts them to their types.
        """
        asked = [one.name for one in self.arguments if one.default is ABSENT]
        if not asked:
            return f'if __name__ == "__main__":\n    {self.function}()'
        usage = " ".join(f"{name}=VALUE" for name in asked)
        return (
            f'if __name__ == "__main__":\n    # Required: python FILE {usage}\n'
            f'    {self.function}(**dict(one.split("=", 1) '
            f"for one in {self.names.use('sys').id}.argv[1:]))"
        )

    def _imports(self) -> Iterator[str]:
        carried = self.functions.modules.imported
        wanted: dict[str, list[str]] = {}
        for module in ("sys", "typing", "prefect", "prefect.task_runners", "pydantic", PACKAGE):
            wanted[module] = []
        for name in sorted(self.names.imported):
            module = _MODULES.get(name, PACKAGE)
            if carried.get(name) not in ((module, name), (module, "")):
                wanted[module].append(name)
        for module, names in wanted.items():
            if names == ["sys"]:
                yield source(ast.Import([self._sys_alias()]))
            elif names:
                yield import_from(module, names, self.names.foreign)

    def _sys_alias(self) -> ast.alias:
        local = self.names.fixed("sys").id
        return ast.alias("sys", None if local == "sys" else local)

    def _head(self) -> str:
        """The decorator, signature and docstring of the flow.

        A flow with a description and without described arguments has no docstring. One without
        either needs it: ``prefect deploy`` would show the description None.
        """
        body: list[ast.stmt] = [ast.Pass()]
        lines = describe(self.arguments)
        if lines or not isinstance(self.pipeline.description, str):
            plain = self.name.isprintable() and "\\" not in self.name and '"' not in self.name
            title = f"{self.name if plain else self.function}."
            text = indented("\n".join((title, "", *lines))).strip()
            body = [ast.Expr(ast.Constant(text + "\n    " if lines else text))]
        function = ast.FunctionDef(
            name=self.function,
            args=self._signature(),
            body=body,
            decorator_list=[self._decorator()],
            lineno=0,
        )
        return source(function).removesuffix("\n    pass")

    def _signature(self) -> ast.arguments:
        """The arguments; keyword-only if one without a default follows one with a default."""
        arguments = [
            ast.arg(argument.name, annotation=annotation_of(argument, self.names))
            for argument in self.arguments
        ]
        defaults = [
            None if one.default is ABSENT else self.steps.expressions.value(one.default)
            for one in self.arguments
        ]
        asked = [default is None for default in defaults]
        plain = asked == sorted(asked, reverse=True)
        return ast.arguments(
            posonlyargs=[],
            args=arguments if plain else [],
            defaults=[default for default in defaults if default is not None] if plain else [],
            kwonlyargs=[] if plain else arguments,
            kw_defaults=[] if plain else defaults,
        )

    def _decorator(self) -> ast.expr:
        keywords: dict[str, ast.expr] = {"name": ast.Constant(self.flow_name)}
        if isinstance(self.pipeline.description, str):
            keywords["description"] = description_of(self.pipeline)
        if self.pipeline.parallelism is not ABSENT:
            limit = ast.Constant(self.pipeline.parallelism.max_parallel_execution_steps)
            keywords["task_runner"] = call(self.names.use(_RUNNER), max_workers=limit)
        keywords |= {one: it for one, it in self._settings().items() if one not in FLOW_ARGUMENTS}
        for event in ("on_cancellation", "on_crashed"):
            own = keywords.get(event, array(()))
            assert isinstance(own, ast.List)
            keywords[event] = array((*own.elts, self.names.use("stop_jobs")))
        return call(self.names.use("flow"), **keywords)

    def _begin(self) -> Iterator[ast.stmt]:
        """The call of ``begin`` for settings outside signature and decorator, if there are any."""
        options = ("PipelineDescription", "RoleArn", "ParallelismConfiguration")
        found = file_arguments(self.pipeline, legal_name(self.name), options, self.details)
        found |= for_prefect(shared_connection(self.pipeline))
        value = self.steps.expressions.value
        names = ("role_arn", *PREFECT_ARGUMENTS, "pipeline", "definition")
        keywords = {name: value(found[name]) for name in names if name in found}
        found_schedules = (self._with_cron(one) for one in self.pipeline.schedules)
        for name, records in (
            ("schedules", list(found_schedules)),
            ("event_triggers", self.pipeline.event_triggers),
        ):
            if records:
                keywords[name] = array(map(self.steps.record, records))
        keywords |= {one: it for one, it in self._settings().items() if one in FLOW_ARGUMENTS}
        if keywords:
            yield ast.Expr(call(self.names.use("begin"), **keywords))

    def _with_cron(self, schedule: Schedule) -> Schedule:
        """A schedule with plain cron as its expression, if it has the same meaning."""
        cron = plain_cron(self.pipeline, schedule)
        return replace(schedule, expression=cron) if cron else schedule

    def _settings(self) -> dict[str, ast.expr]:
        """The settings of the flow, as arguments of its decorator or of ``begin``."""
        given = written_settings(self.pipeline.engine)
        return dict(self.steps.settings(given, self.functions))

    def _top_blocks(self) -> Iterator[_StepBlock]:
        """The blocks of the flow's body, each before those that refer to it if possible."""
        for step in in_order(self.pipeline.steps):
            yield self._block(step)
            while self._deferred:
                deferred = self._deferred.popleft()
                branches = self._branches(deferred.step, deferred.block.variable, 1)
                yield replace(deferred.block, branches=branches, outer=deferred.outer)

    def _block(self, step: Step, level: int = 0, outer: str = "") -> _StepBlock:
        """A step's block inside ``level`` others; ``outer`` is the innermost one."""
        built = call(*self._called(step), **self._given(step))
        variable = self.names.variable(step.name)
        self.steps.expressions.defined.add(step.name)
        block = _StepBlock(variable, built, self.comments.get(step.name, ()), {})
        if not step.inner:
            return block
        if level == NESTED_BLOCKS:  # they start at the left margin again
            self._deferred.append(_Deferred(step, block, outer))
            return block
        return replace(block, branches=self._branches(step, variable, level + 1))

    def _branches(self, step: Step, variable: str, level: int) -> dict[str, list[_StepBlock]]:
        guarded = {_GUARDS[name]: getattr(step, name) for name in step.inner_fields}
        return {
            guard: [self._block(one, level, f"{variable}.{guard}()") for one in in_order(steps)]
            for guard, steps in guarded.items()
            if steps
        }

    def _called(self, step: Step) -> Iterator[ast.expr]:
        """The function of a step and its positional arguments."""
        name = ast.Constant(step.name)
        if isinstance(step, CarriedStep):
            what, given = self.steps.carried(step, self.functions)
            yield self.names.use(_CODE_FUNCTIONS[step.type])
            yield from (name, what)
            if step.type == AWS_CALL and "operation" in given:
                yield given["operation"]
        elif (row := OPERATOR_TYPES.get(step.type)) is not None:
            yield from (self.names.use(row.function), name)
        else:
            yield from (self.names.use("step"), ast.Constant(step.type), name)

    def _given(self, step: Step) -> dict[str, ast.expr]:
        given = self.steps.arguments(step, self._absent_branches(step))
        if isinstance(step, CarriedStep):
            own = self.steps.carried(step, self.functions)[1]
            if step.type == AWS_CALL:  # positional
                own.pop("operation", None)
            given = {**own, **given}
        settings = written_settings(step.engine)
        given |= self.steps.settings(settings, self.functions)
        connection = for_prefect(self.connections.get(step.name, EMPTY))
        return given | {one: self.steps.expressions.value(connection[one]) for one in connection}

    def _absent_branches(self, step: Step) -> dict[str, ast.expr]:
        absent = [name for name in step.inner_fields if getattr(step, name) is ABSENT]
        return {name: self.names.use("ABSENT") for name in absent}


def annotation_of(argument: FlowArgument, names: Names) -> ast.expr:
    """The type of an argument of the flow, with its limits."""
    annotation: ast.expr = ast.Name(argument.type, ast.Load())
    if argument.literal:
        annotation = _subscript(names.use("Literal"), *map(ast.Constant, argument.choices))
    limits = dict(argument.limits)
    for keyword in {"list": ["items"], "dict": ["additionalProperties"]}.get(argument.type, ()):
        if inner := json_annotation(limits.get(keyword)):
            text = f"list[{inner}]" if argument.type == "list" else f"dict[str, {inner}]"
            annotation = ast.parse(text, mode="eval").body
            del limits[keyword]
    given: dict[str, ast.expr] = {}
    schema: dict[str, ast.expr] = {}  # checked by the server and by begin(), not by pydantic
    for keyword, limit in limits.items():
        name = FIELD_ARGUMENTS.get(keyword, "")
        if not name or (keyword == "pattern" and not is_portable(limit)):
            schema[keyword] = literal(limit)
        else:
            given[name] = ast.Constant(limit)
    if argument.choices and not argument.literal:
        schema["enum"] = array(map(ast.Constant, argument.choices))
    if schema:
        keys: list[ast.expr | None] = [ast.Constant(keyword) for keyword in schema]
        given["json_schema_extra"] = ast.Dict(keys, list(schema.values()))
    if given:
        field = call(names.use("Field"), **given)
        annotation = _subscript(names.use("Annotated"), annotation, field)
    if argument.nullable:
        annotation = ast.BinOp(annotation, ast.BitOr(), ast.Constant(None))
    return annotation


def _subscript(base: ast.expr, *inside: ast.expr) -> ast.expr:
    index = ast.Tuple(list(inside), ast.Load()) if len(inside) > 1 else inside[0]
    return ast.Subscript(base, index, ast.Load())
