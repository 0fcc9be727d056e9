"""Count the tasks of DAG and flow files that a translation carries.

The tasks come from the live DAG, or from the syntax of a flow file, and not from what the readers
understand. So a task that is neither a step nor a loss is found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sagebridge import registry
from sagebridge.errors import MissingExtra, PythonFileError, SagebridgeError, SourceError
from sagebridge.formats.python.file_readings import NO_DAG, FileReading, TaskPlace
from sagebridge.formats.python.task_call_sites import (
    CallSite,
    calls_task,
    dag_call_sites,
    flow_call_sites,
)
from sagebridge.model.code_steps import PythonStep, StubStep
from sagebridge.model.display import word_set
from sagebridge.model.losses import Loss, for_target
from sagebridge.model.pipeline import Step, walk

State = Literal["carried", "lost", "unreported"]
_SETTINGS = word_set(
    "asset aws-connection block concurrency deployment engine-option event-trigger "
    "group-description job-name output past-runs pool schedule"
)
"""Codes of losses that do not change what one run of a task does."""


@dataclass(frozen=True, slots=True)
class CountedTask:
    """A task of a file. A lost task has its losses, an unreported one has none.

    A mapped task counts once, and so does a task call in a loop.
    """

    name: str
    line: int
    state: State
    losses: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = {"task": self.name, "line": self.line, "state": self.state}
        return found | ({"losses": list(self.losses)} if self.losses else {})


@dataclass(frozen=True, slots=True)
class TaskCount:
    """The tasks of one file; ``error`` is why it cannot be read or written."""

    source: str
    format: str
    tasks: tuple[CountedTask, ...]
    error: str = ""

    def count(self, state: State) -> int:
        return sum(task.state == state for task in self.tasks)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "format": self.format,
            "tasks": [task.as_json() for task in self.tasks],
        } | ({"error": self.error} if self.error else {})


def count_tasks(sources: Sequence[str]) -> Iterator[TaskCount | MissingExtra]:
    """The tasks of each DAG or flow file, translated to the other engine.

    Other sources have no tasks. A file whose engine is not installed yields that error.
    """
    forms = [(source, registry.detect(source).name) for source in sources]
    dags = [source for source, form in forms if form == "airflow"]
    try:
        read = dict(zip(dags, _read_dags(dags), strict=True))
    except MissingExtra as error:
        yield from (error.at(source) for source in dags)
        forms = [(source, form) for source, form in forms if form != "airflow"]
    for source, form in forms:
        try:
            if form == "airflow":
                yield _of_dags(source, read[source])
            elif form == "prefect" and source.endswith(".py"):
                yield _of_flows(source)
        except MissingExtra as error:
            yield error.at(source)


def _read_dags(files: Sequence[str]) -> Sequence[list[FileReading] | SourceError]:
    from sagebridge.formats.airflow.reader import read_files

    return read_files(files) if files else []


def _of_dags(file: str, read: list[FileReading] | SourceError) -> TaskCount:
    if isinstance(read, PythonFileError) and read.problem == NO_DAG:
        return TaskCount(file, "airflow", (), str(read))
    if isinstance(read, SourceError):
        return _unread(file, "airflow", read, dag_call_sites(Path(file)))
    written = [_Translation.of(dag, "prefect") for dag in read]
    tasks = [
        translation.task(task)
        for dag, translation in zip(read, written, strict=True)
        for task in dag.tasks
    ]
    return _counted(file, "airflow", tasks, written)


def _of_flows(file: str) -> TaskCount:
    from sagebridge.formats.prefect.reader import flow_readings

    sites = flow_call_sites(Path(file))
    try:
        read = flow_readings(file)
    except MissingExtra:
        raise
    except SourceError as error:
        return _unread(file, "prefect", error, sites)
    written = [_Translation.of(flow, "airflow") for flow in read]
    return _counted(file, "prefect", _call_sites(sites, written), written)


def _counted(
    file: str, form: str, tasks: Iterable[CountedTask], written: Iterable[_Translation]
) -> TaskCount:
    errors = dict.fromkeys(one.error for one in written if one.error)
    ordered = sorted(tasks, key=lambda task: task.line)
    return TaskCount(file, form, tuple(ordered), "; ".join(errors))


def _unread(file: str, form: str, error: SourceError, sites: Iterable[CallSite]) -> TaskCount:
    """The tasks of a file that cannot be read: all are lost, by the error."""
    lost = (CountedTask(site.name, site.line, "lost", (str(error),)) for site in sites)
    return TaskCount(file, form, tuple(lost), str(error))


@dataclass(frozen=True, slots=True)
class _Translation:
    """One pipeline of a file in the other engine: its steps and losses.

    Attributes:
        lines: the line of each step in the source.
        losses: all losses, with their line in the source; 0 if unknown.
        written: the strings in the written file; a step that it lacks is not carried.
        error: why the pipeline cannot be written.
    """

    steps: Mapping[str, Step]
    lines: Mapping[str, int]
    losses: tuple[tuple[int, Loss], ...]
    written: frozenset[str] = frozenset()
    error: str = ""
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, read: FileReading, target: str) -> _Translation:
        found = list(for_target(read.losses, target))
        text = error = ""
        try:
            text, more = registry.find(target).writer()(read.pipeline, ())
            found += more
        except MissingExtra:
            raise
        except SagebridgeError as failed:
            error = str(failed)
        steps = {step.name: step for step in walk(read.pipeline)}
        placed = tuple((_line_of(loss) or read.lines.get(loss.step, 0), loss) for loss in found)
        return cls(steps, read.lines, placed, _strings(text), error)

    def task(self, task: TaskPlace) -> CountedTask:
        """What becomes of a task of a DAG."""
        names = step_names(task)
        step = self._step_of(task)
        about = [
            loss
            for line, loss in self.losses
            if (loss.step and loss.step in (step, *names))
            or loss.what.startswith(f"task {task.name}: ")
        ]
        changed = [str(loss) for loss in about if _is_counted(loss)]
        if self.error:
            changed.append(self.error)
        if step is not None and isinstance(self.steps[step], StubStep):
            changed = changed or [str(loss) for loss in about]
            return CountedTask(task.name, task.line, _state(lost=changed), tuple(changed))
        if changed:
            return CountedTask(task.name, task.line, "lost", tuple(changed))
        # An `info` explains that a task needs no step: nothing is missing.
        known = step in self.written or any(loss.severity == "info" for loss in about)
        return CountedTask(task.name, task.line, "carried" if known else "unreported")

    def _step_of(self, task: TaskPlace) -> str | None:
        for name in step_names(task):
            if name in self.steps:
                return name
        # A name that another step has gets a number.
        start = step_names(task)[0][:60]
        near = [name for name, line in self.lines.items() if line == task.line]
        return next((name for name in near if name.startswith(start) and name in self.steps), None)

    def runs(self, site: CallSite, *, exact: bool) -> str | None:
        """The step that a task call of a flow became.

        ``exact``: the step has the line of the call; otherwise, any step of the function.
        """
        for name, step in self.steps.items():
            line = self.lines.get(name, 0)
            at = site.line <= line <= site.last_line
            if name in self.used or isinstance(step, StubStep) or name not in self.written:
                continue
            if not isinstance(step, PythonStep):
                if exact and at:
                    return name
            elif step.function.name == site.name and (at or not exact):
                return name
        return None

    def runs_within(self, site: CallSite) -> str | None:
        """The code step whose function calls the task itself."""
        for name, step in self.steps.items():
            if isinstance(step, PythonStep) and name in self.written:
                function = step.function
                text = function.module or function.text or function.code
                if function.name != site.name and calls_task(text, site.name):
                    return name
        return None

    def losses_at(self, site: CallSite, step: str | None = None) -> list[Loss]:
        return [
            loss
            for line, loss in self.losses
            if (site.line <= line <= site.last_line and loss.step in ("", step))
            or (step and loss.step == step)
        ]


def _call_sites(
    sites: Sequence[CallSite], written: Sequence[_Translation]
) -> Iterator[CountedTask]:
    """What becomes of the task calls of a file. Each step is the step of one call only."""
    found: dict[CallSite, tuple[_Translation, str]] = {}
    for exact in (True, False):
        for site in sites:
            for one in written:
                if site not in found and (step := one.runs(site, exact=exact)):
                    found[site] = one, step
                    one.used.add(step)
    for site in sites:
        if site in found:
            one, step = found[site]
            changed = [str(loss) for loss in one.losses_at(site, step) if _is_counted(loss)]
            changed += [one.error] if one.error else []
            state: State = "lost" if changed else "carried"
            yield CountedTask(site.name, site.line, state, tuple(changed))
            continue
        within = next((one for one in written if one.runs_within(site)), None)
        losses = [loss for one in written for loss in one.losses_at(site)]
        if within is not None and not within.error:
            dropped = [str(loss) for loss in losses if _is_dropped(loss)]
            state = "lost" if dropped else "carried"
            yield CountedTask(site.name, site.line, state, tuple(dropped))
            continue
        lost = [str(loss) for loss in losses if loss.severity != "info"]
        lost += [str(loss) for one in written for loss in _about_function(one, site.name)]
        lost += [one.error for one in written if one.error]
        yield CountedTask(site.name, site.line, _state(lost), tuple(dict.fromkeys(lost)))


def _about_function(translation: _Translation, name: str) -> Iterator[Loss]:
    """The losses that name a task function."""
    for _, loss in translation.losses:
        if loss.severity != "info" and (loss.step == name or f"task {name}:" in loss.what):
            yield loss


def _state(lost: Sequence[str]) -> State:
    return "lost" if lost else "unreported"


def _is_counted(loss: Loss) -> bool:
    """Whether a loss changes what a task does."""
    return loss.severity != "info" and loss.code not in _SETTINGS


def _is_dropped(loss: Loss) -> bool:
    return loss.severity == "dropped" and loss.code not in _SETTINGS


def _line_of(loss: Loss) -> int:
    last = loss.place.rpartition(":")[2]
    return int(last) if last.isdecimal() else 0


def step_names(task: TaskPlace) -> tuple[str, str]:
    """The names that the step of a task may have: without and with its task groups."""
    label, name = (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in one)[:64]
        for one in (task.label, task.name)
    )
    return label, name


def _strings(text: str) -> frozenset[str]:
    """The string constants of Python source, and the names of its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            found.update(_strings_of(node, node.iter.elts))
    return frozenset(found)


def _strings_of(loop: ast.For, rows: Sequence[ast.expr]) -> Iterator[str]:
    """The f-strings in a loop over constants, one for each round."""
    several = isinstance(loop.target, ast.Tuple)
    names = [ast.unparse(one) for one in getattr(loop.target, "elts", [loop.target])]
    texts = [node for node in ast.walk(loop) if isinstance(node, ast.JoinedStr)]
    for row in rows:
        values = getattr(row, "elts", []) if several else [row]
        known = dict(zip(names, (getattr(one, "value", "") for one in values), strict=False))
        for text in texts:
            parts = (getattr(one, "value", "") for one in text.values)
            yield "".join(
                str(known.get(ast.unparse(one), "")) if isinstance(one, ast.expr) else str(one)
                for one in parts
            )
