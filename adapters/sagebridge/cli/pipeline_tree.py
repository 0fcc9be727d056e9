"""A pipeline as a printed tree, and the same content as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import edges, triggers
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.values import ABSENT, thaw
from sagebridge.terminal.console import printable
from sagebridge.terminal.wording import format_cache, format_condition, format_retry, format_value

Marks = Mapping[str, Sequence[Loss]]
"""The losses of each step that has any."""
Dependencies = Mapping[str, Mapping[str, Sequence[str]]]
"""The upstream steps of each step, with the reasons (``data``, ``depends_on``) and triggers."""

_REASONS = {"data": "data", "depends_on": "DependsOn"}


def dependencies(pipeline: Pipeline) -> Dependencies:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for source, target, reason in edges(pipeline.steps):
        if reason in _REASONS and reason not in found[target][source]:
            found[target][source].append(reason)
    for source, target, trigger in triggers(pipeline.steps):
        if trigger != COMPLETED and trigger not in found[target][source]:
            found[target][source].append(trigger)
    return found


def as_tree(pipeline: Pipeline, marks: Marks) -> RenderableType:
    steps = sum(1 for _ in walk(pipeline))
    title = Text.assemble(
        (printable(pipeline.name or "(no name)"), "bold"),
        (f"  {_count(steps, 'step')}, {_count(len(pipeline.declared), 'parameter')}", "dim"),
    )
    parts: list[RenderableType] = [title]
    if isinstance(pipeline.description, str):
        parts.append(Text(printable(pipeline.description)))
    for name, config in _tracking(pipeline):
        settings = ", ".join(f"{key} {value}" for key, value in config.items())
        parts.append(Text(f"{name}: {printable(settings)}", "dim"))
    if pipeline.declared:
        parameters = Tree("Parameters", guide_style="dim")
        for parameter in pipeline.declared:
            parameters.add(_parameter_line(parameter))
        parts.append(parameters)
    if pipeline.starters:
        parts += _starter_trees(pipeline)
    tree = Tree("Steps", guide_style="dim")
    _add_steps(tree, pipeline.steps, dependencies(pipeline), marks)
    return Group(*parts, tree)


def _starter_trees(pipeline: Pipeline) -> Iterator[Tree]:
    # Imported here because only pipelines with schedules need pendulum.
    from sagebridge.cli.schedule_view import schedule_notes, trigger_line, trigger_notes
    from sagebridge.model.schedule_words import in_words

    rows = (
        ("Schedules", [(one, in_words(one), schedule_notes(one)) for one in pipeline.schedules]),
        (
            "Event triggers",
            [(one, trigger_line(one), trigger_notes(one)) for one in pipeline.event_triggers],
        ),
    )
    for title, found in rows:
        if not found:
            continue
        tree = Tree(title, guide_style="dim")
        for one, line, notes in found:
            text = Text.assemble((printable(one.name), "bold"), f"  {printable(line)}")
            if not one.enabled:
                text.append("  off", "yellow")
            branch = tree.add(text)
            for note in notes:
                branch.add(Text(printable(note), "dim"))
        yield tree


def _tracking(pipeline: Pipeline) -> Iterator[tuple[str, dict[str, str]]]:
    """The experiment and MLflow configurations."""
    configs = {"experiment": pipeline.experiment_config, "mlflow": pipeline.mlflow_config}
    for name, config in configs.items():
        if isinstance(config, Mapping):
            yield name, {key: format_value(value) for key, value in config.items()}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _parameter_line(parameter: Parameter) -> Text:
    line = Text.assemble(
        (printable(parameter.name), "bold"), f"  {printable(parameter.value_type)}"
    )
    if parameter.default is ABSENT:
        line.append("  required", "yellow")
    else:
        line.append(f" = {printable(format_value(parameter.default))}")
    if parameter.nullable:
        line.append("  or null", "dim")
    if parameter.enum_values is not ABSENT:
        choices = ", ".join(format_value(choice) for choice in parameter.enum_values)
        line.append(f"  one of {printable(choices)}", "dim")
    if parameter.limits:
        limits = (f"{name} {format_value(value)}" for name, value in parameter.limits.items())
        line.append(f"  {printable(', '.join(limits))}", "dim")
    if isinstance(parameter.description, str):
        line.append(f"  {printable(parameter.description)}", "dim")
    return line


def _add_steps(tree: Tree, steps: Sequence[Step], upstream: Dependencies, marks: Marks) -> None:
    for step in steps:
        branch = tree.add(_step_line(step, upstream))
        for note in _notes(step):
            branch.add(Text(printable(note), "dim"))
        for loss in marks.get(step.name, ()):
            line = f"! {loss.severity} in {loss.target}: {loss.what} [{loss.code}]"
            branch.add(Text(printable(line), "yellow"))
        if isinstance(step, ConditionStep):
            holds = " and ".join(format_condition(one) for one in step.conditions or ()) or "always"
            met = branch.add(Text.assemble(("if ", "green"), printable(holds)))
            _add_steps(met, step.if_steps or (), upstream, marks)
            if step.else_steps:
                _add_steps(branch.add(Text("else", "red")), step.else_steps, upstream, marks)
        elif isinstance(step, ForEachStep):
            items = branch.add(Text.assemble(("for each of ", "green"), printable(_items(step))))
            _add_steps(items, step.body or (), upstream, marks)


def _step_line(step: Step, upstream: Dependencies) -> Text:
    line = Text.assemble((printable(step.name), "bold"), "  ", (printable(step.type), "cyan"))
    after = [
        f"{printable(name)} ({', '.join(_REASONS.get(one, one) for one in reasons)})"
        if reasons != ["data"]
        else printable(name)
        for name, reasons in upstream.get(step.name, {}).items()
    ]
    if after:
        line.append(f"  after {', '.join(after)}")
    return line


def _items(step: ForEachStep) -> str:
    """The items of a ForEach, and how many iterations run at the same time."""
    limit = step.max_concurrency
    text = "" if limit is ABSENT else f", {format_value(limit)} at a time"
    return f"{'nothing' if step.items is ABSENT else format_value(step.items)}{text}"


def _selector(step: ForEachStep) -> Iterator[str]:
    selector = step.selector
    if selector is not ABSENT and ABSENT not in (selector.pick, selector.field):
        pick = selector.pick if isinstance(selector.pick, str) else format_value(selector.pick)
        yield f"selects {pick} {format_value(selector.field)}"


def _notes(step: Step) -> Iterator[str]:
    if isinstance(step.display_name, str) and step.display_name != step.name:
        yield step.display_name
    if isinstance(step.description, str):
        yield step.description
    if step.type == "Fail" and isinstance(step.arguments, Mapping):
        yield f"fails with {format_value(step.arguments.get('ErrorMessage'))}"
    if isinstance(step, ForEachStep):
        yield from _selector(step)
    if step.cache_config is not ABSENT:
        yield format_cache(step.cache_config)
    for policy in step.retry_policies or ():
        yield format_retry(policy)
    for file in step.property_files or ():
        yield f"property file {file.name}: {file.file_path} in output {file.output_name}"
    for output in step.output_parameters or ():
        yield f"returns {output.name}" + ("" if output.type is ABSENT else f": {output.type}")


def as_json(pipeline: Pipeline, marks: Marks) -> dict[str, Any]:
    """The content of the tree as JSON, with expressions as strings."""
    upstream = dependencies(pipeline)
    return {
        "name": pipeline.name,
        **dict(_tracking(pipeline)),
        "parameters": [_parameter_json(parameter) for parameter in pipeline.declared],
        **_starters_json(pipeline),
        "steps": [_step_json(step, upstream, marks) for step in pipeline.steps],
    }


def _starters_json(pipeline: Pipeline) -> dict[str, Any]:
    if not pipeline.starters:
        return {}
    from sagebridge.cli.schedule_view import starters_json

    return starters_json(pipeline)


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    result: dict[str, Any] = {"name": parameter.name, "type": parameter.value_type}
    if parameter.default is not ABSENT:
        result["default"] = thaw(parameter.default)
    if parameter.enum_values is not ABSENT:
        result["enum"] = thaw(parameter.enum_values)
    if parameter.limits:
        result["limits"] = thaw(parameter.limits)
    if parameter.nullable:
        result["nullable"] = True
    if parameter.description is not ABSENT:
        result["description"] = parameter.description
    return result


def _step_json(step: Step, upstream: Dependencies, marks: Marks) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": step.name,
        "type": step.type,
        "after": {name: list(why) for name, why in upstream.get(step.name, {}).items()},
    }
    if notes := list(_notes(step)):
        result["notes"] = notes
    if step.name in marks:
        result["losses"] = [loss.as_json() for loss in marks[step.name]]
    if isinstance(step, ConditionStep):
        result["conditions"] = [format_condition(one) for one in step.conditions or ()]
        result["if"] = [_step_json(inner, upstream, marks) for inner in step.if_steps or ()]
        result["else"] = [_step_json(inner, upstream, marks) for inner in step.else_steps or ()]
    elif isinstance(step, ForEachStep):
        result["items"] = _items(step)
        result["body"] = [_step_json(inner, upstream, marks) for inner in step.body or ()]
    return result
