"""``sagebridge validate``."""

from __future__ import annotations

from collections import Counter

import click
from rich.text import Text

import sagebridge
from sagebridge.authoring.json_document import source_name
from sagebridge.errors import SagebridgeError, SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.validator import UNREADABLE
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import console, print_json
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import (
    arg_option,
    format_option,
    from_option,
    map_option,
    schedules_option,
)
from sagebridge.terminal.source_files import expand
from sagebridge.terminal.wording import finding_line


@click.command(
    cls=TableCommand,
    short_help="Check pipelines and list all errors and warnings.",
    tables={
        "Exit codes": {
            "0": "There are no errors. There may be warnings.",
            "1": "There are errors.",
            "5": "A source cannot be read.",
        }
    },
    examples=("sagebridge validate pipelines/ nightly.json",),
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@arg_option
@from_option
@schedules_option
@map_option
@format_option
def validate(sources: tuple[str, ...], from_: str | None, changes: Changes, form: str) -> int:
    """Check pipelines and list all errors and warnings.

    Each error and warning is printed with its file, line and code. If there are none, nothing is
    printed, except a summary on a terminal. In a folder, Python files are not checked.
    'sagebridge --help' lists the kinds of SOURCE.
    """
    files = expand(sources, (".json", ".yaml", ".yml"))
    changes.check_sources(len(files))
    found = [(source_name(source), _findings(source, from_, changes)) for source in files]
    if form == "json":
        print_json(
            [
                {"source": source, "findings": [finding.as_json() for finding in findings]}
                for source, findings in found
            ]
        )
    else:
        _print(found)
    every = [finding for _, findings in found for finding in findings]
    if any(finding.code == UNREADABLE for finding in every):
        return SourceError.exit_code
    return int(any(finding.severity == "error" for finding in every))


def _findings(source: str, from_: str | None, changes: Changes) -> tuple[Finding, ...]:
    found = sagebridge.validate(source, from_)
    if not changes:
        return found
    try:
        pipeline = sagebridge.read(source, from_).pipeline
    except SagebridgeError:  # the findings have the reason
        return found
    return changes.findings(found, changes.apply(pipeline))


def _print(found: list[tuple[str, tuple[Finding, ...]]]) -> None:
    out = console()
    for source, findings in found:
        for finding in findings:
            out.print(finding_line(source, finding), soft_wrap=True)
    if out.is_terminal:
        out.print(_summary(found))


def _summary(found: list[tuple[str, tuple[Finding, ...]]]) -> Text:
    counts = Counter(finding.severity for _, findings in found for finding in findings)
    counted = ", ".join(
        f"{counts[severity]} {severity}{'s' if counts[severity] != 1 else ''}"
        for severity in ("error", "warning")
    )
    style = "red" if counts["error"] else "yellow" if counts["warning"] else "green"
    return Text(f"{len(found)} source{'s' if len(found) != 1 else ''}: {counted}", style)
