"""``sagebridge validate``."""

from __future__ import annotations

from collections import Counter

import click
from rich.text import Text

import sagebridge
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.sagemaker.validator import UNREADABLE
from sagebridge.terminal.console import console, print_json
from sagebridge.terminal.options import from_option
from sagebridge.terminal.source_files import expand
from sagebridge.terminal.wording import finding_line


@click.command(short_help="Say everything that is wrong with pipeline definitions.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@from_option
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text")
def validate(sources: tuple[str, ...], from_: str | None, form: str) -> int:
    """Say everything that is wrong with pipeline definitions.

    A SOURCE may be a folder, which stands for its *.json and *.yaml files. Exit code: 0 without
    errors, 1 with errors, 5 when a source cannot be read.
    """
    files = expand(sources, (".json", ".yaml", ".yml"))
    found = [(source, sagebridge.validate(source, from_)) for source in files]
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


def _print(found: list[tuple[str, tuple[Finding, ...]]]) -> None:
    out = console()
    for source, findings in found:
        for finding in findings:
            out.print(finding_line(source, finding), soft_wrap=True)
    if out.is_terminal:
        out.print(_summary(found))


def _summary(found: list[tuple[str, tuple[Finding, ...]]]) -> Text:
    counts = Counter(finding.severity for _, findings in found for finding in findings)
    words = ", ".join(
        f"{counts[severity]} {severity}{'s' if counts[severity] != 1 else ''}"
        for severity in ("error", "warning")
    )
    style = "red" if counts["error"] else "yellow" if counts["warning"] else "green"
    return Text(f"{len(found)} source{'s' if len(found) != 1 else ''}: {words}", style)
