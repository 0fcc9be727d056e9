"""Artifacts of a flow run in Prefect's UI: a table of steps, a summary, links to each job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from sagebridge.errors import SagebridgeError
from sagebridge.model.display import in_markdown
from sagebridge.model.pipeline import ConditionStep, Step
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.iterations import StepRow
from sagebridge_operators.lifecycle.step_states import Status

_LARGEST_FILE = 64 * 1024
_LONGEST_ITEM = 200


def link_pages(task: str, links: Mapping[str, str]) -> None:
    """Links a task run to the pages of its job in the AWS console."""
    for name, link in links.items():
        text = f"{task}: {name}"
        _create(create_link_artifact, key=_key(task, name), link=link, link_text=text)


def link_folder(task: str, type_: str, home: Path | None, job: Mapping[str, Any]) -> None:
    """Links a task run to the folder of its job, if it is local."""
    if home is None:
        return
    folder = home / "jobs" / type_ / str(job["name"])
    if folder.is_dir():
        text = f"{type_} {job['name']}"
        _create(
            create_link_artifact,
            key=_key(task, "job"),
            link=folder.as_uri(),
            link_text=text,
        )


def show_condition(step: Step, report: Mapping[str, Any]) -> None:
    """Shows the values that a Condition step compared. Other steps are ignored."""
    if isinstance(step, ConditionStep):
        # No line of JSON is a fence, since line breaks in its strings are escaped.
        text = json.dumps(report, indent=2, ensure_ascii=False)
        markdown = f"# {in_markdown(step.name)}: {report['outcome']}\n\n```json\n{text}\n```"
        _create(create_markdown_artifact, key=_key(step.name, "condition"), markdown=markdown)


def summarize(
    pipeline: str, found: Status, steps: Sequence[StepRow], read: Callable[[str], bytes]
) -> None:
    """Creates the table of steps and the summary, with the numbers from property files."""
    with_items = any(one.item is not None for one in steps)
    rows = [
        {
            "Step": one.name,
            "Type": one.step.type,
            **({"Item": _short(one.item or "")} if with_items else {}),
            "State": one.state + _remarks(one.attempt),
            "Job": job.shown if one.attempt and (job := one.attempt.job) else "",
            "Reason": one.attempt.reason if one.attempt else "",
        }
        for one in steps
    ]
    _create(create_table_artifact, key=_key(pipeline, "steps"), table=rows, description="Steps")
    lines = [f"# {in_markdown(pipeline)}: {found.status}", "", in_markdown(found.reason), ""]
    lines += _metrics(steps, read)
    _create(create_markdown_artifact, key=_key(pipeline, "summary"), markdown="\n".join(lines))


def _short(item: str) -> str:
    return item if len(item) <= _LONGEST_ITEM else f"{item[: _LONGEST_ITEM - 3]}..."


def _remarks(attempt: Attempt | None) -> str:
    """How a step reached its state: from its cache, or in several attempts."""
    if attempt is None:
        return ""
    if attempt.cached_from:
        return f" (cached from {attempt.cached_from})"
    return f" ({attempt.number + 1} attempts)" if attempt.number else ""


def _metrics(steps: Sequence[StepRow], read: Callable[[str], bytes]) -> Iterator[str]:
    for one in steps:
        outputs = (one.attempt.outputs if one.attempt is not None else None) or {}
        for file, uri in outputs.get("property_files", {}).items():
            numbers = dict(_numbers(_json(uri, read)))
            if numbers:
                yield from (f"## {in_markdown(one.name)}: {in_markdown(file)}", "")
                yield from ("| metric | value |", "|---|---|")
                yield from (f"| {in_markdown(path)} | {value} |" for path, value in numbers.items())
                yield ""


def _json(uri: str, read: Callable[[str], bytes]) -> Any:
    try:
        content = read(uri)
        return json.loads(content) if len(content) <= _LARGEST_FILE else None
    except (SagebridgeError, ValueError):
        return None


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    match value:
        case bool():
            return
        case int() | float():
            yield path or "value", value
        case Mapping():
            for name, item in value.items():
                yield from _numbers(item, f"{path}.{name}" if path else str(name))
        case list():
            for position, item in enumerate(value):
                yield from _numbers(item, f"{path}[{position}]")


def _key(name: str, what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{what}".lower()).strip("-")


def _create(create: Callable[..., Any], **what: Any) -> None:
    """Creates an artifact; an error is logged and does not fail the run."""
    try:
        create(**what)
    except Exception as error:  # noqa: BLE001 - logged
        get_run_logger().warning("could not create the artifact %s: %s", what["key"], error)
