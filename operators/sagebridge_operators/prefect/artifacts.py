"""Artifacts of a flow run in Prefect's UI: a table of steps, a summary, a link to each job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from sagebridge.errors import SagebridgeError
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.step_states import Attempts, Status

_LARGEST_FILE = 64 * 1024


def link_job(step: Step, backend: Backend, job: Mapping[str, Any]) -> None:
    """Links the step's task run to its job: to the AWS console, or to a local folder."""
    link = _page(step, backend, str(job["name"]))
    if link:
        text = f"{step.type} {job['name']}"
        _create(create_link_artifact, key=_key(step.name, "job"), link=link, link_text=text)


def show_condition(step: Step, report: Mapping[str, Any]) -> None:
    """Shows the values that a Condition step compared. Other steps are ignored."""
    if isinstance(step, ConditionStep):
        # No line of JSON is a fence, since line breaks in its strings are escaped.
        text = json.dumps(report, indent=2, ensure_ascii=False)
        markdown = f"# {_text(step.name)}: {report['outcome']}\n\n```json\n{text}\n```"
        _create(create_markdown_artifact, key=_key(step.name, "condition"), markdown=markdown)


def _page(step: Step, backend: Backend, name: str) -> str | None:
    if home := getattr(backend, "home", None):
        folder = home / "jobs" / step.type / name
        return folder.as_uri() if folder.is_dir() else None
    page = STEP_TYPES[step.type].console_page if step.type in STEP_TYPES else None
    if backend.name != "aws" or page is None:
        return None
    region = backend.client("sagemaker").meta.region_name
    console = f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}"
    return f"{console}#/{page}/{name}"


def summarize(
    pipeline: Pipeline,
    found: Status,
    reached: Mapping[str, str],
    attempts: Attempts,
    read: Callable[[str], bytes],
) -> None:
    """Creates the table of steps and the summary, with the numbers from property files."""
    name = pipeline.name or "pipeline"
    rows = [
        {
            "Step": step.name,
            "Type": step.type,
            "State": reached[step.name] + _remarks(attempts.get(step.name)),
            "Job": job.name if (one := attempts.get(step.name)) and (job := one.job) else "",
            "Reason": one.reason if one else "",
        }
        for step in walk(pipeline)
    ]
    _create(create_table_artifact, key=_key(name, "steps"), table=rows, description="Steps")
    lines = [f"# {_text(name)}: {found.status}", "", _text(found.reason), ""]
    lines += _metrics(attempts, read)
    _create(create_markdown_artifact, key=_key(name, "summary"), markdown="\n".join(lines))


def _remarks(attempt: Attempt | None) -> str:
    """How a step reached its state: from its cache, or in several attempts."""
    if attempt is None:
        return ""
    if attempt.cached_from:
        return f" (cached from {attempt.cached_from})"
    return f" ({attempt.number + 1} attempts)" if attempt.number else ""


def _metrics(attempts: Attempts, read: Callable[[str], bytes]) -> Iterator[str]:
    for step, attempt in attempts.items():
        for file, uri in (attempt.outputs or {}).get("property_files", {}).items():
            numbers = dict(_numbers(_json(uri, read)))
            if numbers:
                yield from (f"## {_text(step)}: {_text(file)}", "")
                yield from ("| metric | value |", "|---|---|")
                yield from (f"| {_text(path)} | {value} |" for path, value in numbers.items())
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


def _text(text: str) -> str:
    """Escapes a string from a definition or job, so that Markdown shows it literally."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", text)
    return " ".join(escaped.split()).replace("<", "&lt;")


def _key(name: str, what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{what}".lower()).strip("-")


def _create(create: Callable[..., Any], **what: Any) -> None:
    """Creates an artifact; an error is logged and does not fail the run."""
    try:
        create(**what)
    except Exception as error:  # noqa: BLE001 - logged
        get_run_logger().warning("could not create the artifact %s: %s", what["key"], error)
