"""``sagebridge translate``."""

from __future__ import annotations

import difflib
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from rich.progress import track

import sagebridge
from sagebridge.assessment import Assessment, Outcome, format_of, grade
from sagebridge.authoring import runnable
from sagebridge.checked_reading import CheckedPipeline, read_each_checked, unreported
from sagebridge.errors import (
    FormatError,
    LossError,
    SagebridgeError,
    SourceError,
    StaleFileError,
    TranslationError,
    UsageError,
)
from sagebridge.findings import Finding
from sagebridge.model.display import free_name, safe_stem
from sagebridge.model.losses import Loss, counted, for_target
from sagebridge.registry import FORMATS, find
from sagebridge.report.entries import as_json
from sagebridge.report.page import page
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import console, count, dump_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import (
    arg_option,
    format_names,
    from_option,
    map_option,
    schedules_option,
    single_name_option,
)
from sagebridge.terminal.source_files import content, expand, write_file
from sagebridge.terminal.wording import finding_line

_STYLES = ("sagebridge", "native")
_DOCUMENTS = tuple(
    name for form in FORMATS.values() for name in form.documents if name not in _STYLES
)
_WORST_FIRST = (6, 5, 2, 1, 4)
_LONG_DIFF = 1000
"""Number of lines above which the diff is optimised for speed, not for size."""

_TABLES = {
    "Severities of losses": {
        "info": "Expressed differently. Nothing is missing.",
        "changed": "Behaves differently, or is unknown to sagebridge and kept as is.",
        "dropped": "Missing from the translation.",
    },
    "Exit codes": {
        "0": "Translated.",
        "1": "A pipeline cannot be translated, or --check found a stale file.",
        "2": "Wrong options.",
        "4": "A translation has losses, and --fail-on-loss is set.",
        "5": "A source cannot be read.",
        "6": "A required extra is not installed.",
    },
}


@click.command(
    cls=TableCommand,
    short_help="Translate pipelines into another format.",
    tables=_TABLES,
    epilog="With several sources, the exit code is the first of 6, 5, 2, 1, 4 that applies.",
    examples=(
        "sagebridge translate nightly.json --to airflow -o dags/nightly.py",
        "sagebridge translate pipelines/ --to prefect -o flows/",
    ),
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@arg_option
@click.option(
    "--to",
    required=True,
    type=format_names,
    metavar="FORMAT",
    help="Target format: sagemaker, airflow or prefect.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Output file, or folder if there are several sources. Existing files are overwritten. "
    "Default: standard output.",
)
@from_option
@single_name_option
@click.option(
    "--as",
    "document",
    type=click.Choice(_DOCUMENTS),
    metavar="DOCUMENT",
    help="Document to write: definition (default), create-pipeline, cloudformation or eventbridge "
    "of SageMaker; prefect.yaml, with the deployment of the flow.",
)
@click.option(
    "--style",
    type=click.Choice(_STYLES),
    default=_STYLES[0],
    metavar="STYLE",
    help="Operators of a DAG: sagebridge's (default), which lose nothing, or native, those of the "
    "Amazon provider, which run without sagebridge.",
)
@schedules_option
@map_option
@click.option("--losses", "losses_file", metavar="FILE", help="Write all losses to FILE as JSON.")
@click.option(
    "--report",
    "report_file",
    metavar="FILE",
    help="Write a report to FILE: HTML, or JSON if its suffix is .json. See docs/report.md.",
)
@click.option(
    "--fail-on-loss",
    is_flag=True,
    help="If a pipeline has losses of severity changed or dropped, do not write it, and exit with "
    "4.",
)
@click.option(
    "--no-stubs",
    is_flag=True,
    help="Leave dropped tasks out: their downstream tasks depend on their upstream tasks. Without "
    "this option, a stub takes the place of each, which fails when it runs.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing. Exit with 1 if an output file is stale: missing or not up to date.",
)
@click.option(
    "--diff", is_flag=True, help="Write nothing. Print the differences to the existing files."
)
def translate(
    sources: tuple[str, ...],
    to: str,
    output: str | None,
    from_: str | None,
    name: str | None,
    document: str | None,
    style: str,
    changes: Changes,
    losses_file: str | None,
    report_file: str | None,
    fail_on_loss: bool,
    no_stubs: bool,
    check: bool,
    diff: bool,
) -> int:
    """Translate pipelines into another format.

    Anything the target cannot express is reported, one line per loss. If one file fails, the
    others are still translated. 'sagebridge --help' lists the kinds of SOURCE.
    """
    if style != _STYLES[0]:
        if document is not None:
            raise UsageError("--style and --as cannot be combined")
        document = style
    find(to).writer(document)
    if output is None and (check or diff):
        raise UsageError("--check and --diff compare with a file; pass it with -o")
    files = expand(sources)
    several = len(files) > 1 or files != list(sources)
    if name is not None and several:
        raise UsageError("--name requires a single source")
    changes.check_sources(1 + several)
    run = _Run(
        to=to,
        format=from_,
        document=document,
        name=name,
        changes=changes,
        output=None if output is None else Path(output),
        into_folder=several or _is_folder(output),
        several=several,
        fail_on_loss=fail_on_loss,
        stubs=not no_stubs,
        write=not (check or diff),
        check=check,
        diff=diff,
    )
    if several and run.output is None:
        raise UsageError("several sources require an output folder; pass it with -o")
    if run.output is not None and run.into_folder and run.output.is_file():
        raise UsageError(f"{run.output} is a file; several sources require an output folder")
    for source, result in _progress(files, from_, several):
        run.take(source, result)
    run.finish(losses_file)
    if report_file is not None:
        as_page = Path(report_file).suffix != ".json"
        text = page(run.assessed) if as_page else dump_json(as_json(run.assessed))
        write_file(Path(report_file), text)
    return next((code for code in _WORST_FIRST if code in run.codes), 0)


def _is_folder(output: str | None) -> bool:
    return output is not None and (output.endswith("/") or Path(output).is_dir())


def _progress(
    files: list[str], format_: str | None, several: bool
) -> Iterable[tuple[str, list[CheckedPipeline] | SagebridgeError]]:
    screen = console(err=True)
    return track(
        read_each_checked(files, format_),
        description="Translating",
        total=len(files),
        console=screen,
        transient=True,
        disable=not (several and screen.is_terminal),
    )


@dataclass(slots=True)
class _Run:
    """One run of the command: its options and the results so far."""

    to: str
    format: str | None
    document: str | None
    name: str | None
    changes: Changes
    output: Path | None
    into_folder: bool
    several: bool
    fail_on_loss: bool
    stubs: bool
    write: bool
    check: bool
    diff: bool
    codes: set[int] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    taken: set[str] = field(default_factory=set)
    report: list[dict[str, Any]] = field(default_factory=list)
    assessed: list[Assessment] = field(default_factory=list)

    def take(self, source: str, result: list[CheckedPipeline] | SagebridgeError) -> None:
        """Translate the pipelines of a source, or report why it cannot be read."""
        if isinstance(result, SagebridgeError):
            self._fail(source, result)
            return
        if len(result) > 1 and not (self.output and self.into_folder):
            names = ", ".join(f"{source}#{one.pipeline.name}" for one in result)
            folder = self.output if self.output and not self.output.suffix else "FOLDER"
            fix = f"select one of them ({names}) or write all to a folder with -o {folder}/"
            self._fail(source, SourceError(source, f"contains {len(result)} pipelines", fix))
            return
        for one in result:
            own = self.name or one.pipeline.name or "pipeline"
            try:
                self.changes.check_sources(len(result))
                self._translate(source, own if len(result) > 1 else _stem(source, own), one)
            except SagebridgeError as error:
                self._fail(source, error)

    def _translate(self, source: str, stem: str, one: CheckedPipeline) -> None:
        pipeline = one.pipeline
        if self.name is not None:
            pipeline = replace(pipeline, name=self.name)
        pipeline = self.changes.apply(pipeline)
        mapped = self.changes.mapped
        reading = [loss for loss in one.losses if not _is_mapped(loss, mapped)]
        text, lost = sagebridge.write(
            pipeline, self.to, document=self.document, losses=reading, stubs=self.stubs
        )
        losses = (*for_target(reading, self.to), *lost)
        findings = self.changes.findings(one.findings, pipeline)
        shown = unreported(findings, losses, pipeline, self.to)
        self._tell(source, pipeline.name, losses, shown)
        errors = [found for found in findings if found.severity == "error"]
        outcome = Outcome(grade(losses, errors), losses, findings=shown, text=text)
        form = self.format or format_of(source)
        self.assessed.append(Assessment.of(source, form, pipeline, {self.to: outcome}))
        if self.to != "sagemaker" and (line := runnable.warning(pipeline)) is not None:
            click.echo(printable(f"{source}: {line}"), err=True)
        if self.fail_on_loss and (serious := counted(losses)):
            raise LossError(source, len(serious))
        if self.output is None:
            click.echo(text, nl=False)
            return
        path = self.output
        if self.into_folder:
            stem = free_name(safe_stem(stem), self.taken, separator="-")
            self.taken.add(stem)
            path = path / f"{stem}{find(self.to).suffix_of(self.document)}"
        self._put(path, text)

    def _put(self, path: Path, text: str) -> None:
        old = content(path)
        if old == text:
            self._record("unchanged", path)
            return
        if self.diff:
            _print_diff(path, old or "", text)
        if self.write:
            outcome = "replaced" if os.path.lexists(path) else "written"
            write_file(path, text)
            self._record(outcome, path)
        else:
            self.done["stale"] += 1
        if self.check:
            raise StaleFileError(str(path), missing=old is None)

    def _record(self, outcome: str, path: Path) -> None:
        """Count a file; print it too if there is no summary."""
        self.done[outcome] += 1
        if self.write and not self.several:
            click.echo(printable(f"{outcome} {path}"), err=True)

    def _tell(
        self,
        source: str,
        name: str | None,
        losses: Sequence[Loss],
        findings: Sequence[Finding],
    ) -> None:
        for finding in findings:
            click.echo(finding_line(source, finding).plain, err=True)
            self.done[finding.severity] += 1
        for loss in losses:
            place = "" if loss.place.startswith(source.partition("#")[0]) else f"{source}: "
            click.echo(printable(f"{place}{loss}"), err=True)
            self.done[loss.severity] += 1
        told = [loss.as_json() for loss in losses]
        entry = {"source": source, "pipeline": name, "target": self.to, "losses": told}
        if findings:
            entry["findings"] = [finding.as_json() for finding in findings]
        self.report.append(entry)

    def _fail(self, source: str, error: SagebridgeError) -> None:
        place = f"{source}: " if isinstance(error, FormatError) else ""
        for line in f"{place}{error}".splitlines():
            click.echo(printable(line), err=True)
        self.codes.add(error.exit_code)
        if not isinstance(error, StaleFileError | LossError):
            self.done["failed"] += 1
            form = self.format or format_of(source)
            self.assessed.append(Assessment.failed(source, form, (self.to,), error))
            told: dict[str, Any] = {"source": source, "target": self.to, "error": str(error)}
            if isinstance(error, TranslationError) and error.losses:
                told["losses"] = [loss.as_json() for loss in error.losses]
            self.report.append(told)

    def finish(self, losses_file: str | None) -> None:
        translated = any("error" not in one for one in self.report)
        if translated:
            self.changes.warn()
        if losses_file is not None:
            write_file(Path(losses_file), dump_json(self.report))
        if self.several:
            click.echo(self._summary(), err=True)

    def _summary(self) -> str:
        pipelines = sum("error" not in one for one in self.report)
        words = [
            f"{self.done[word]} {word}"
            for word in ("written", "replaced", "unchanged", "stale", "failed")
            if self.done[word]
        ]
        losses = [f"{self.done[word]} {word}" for word in ("dropped", "changed", "info")]
        number = sum(self.done[word] for word in ("dropped", "changed", "info"))
        lost = f"{count(number, 'loss', 'losses')}" + (f" ({', '.join(losses)})" if number else "")
        found = [count(self.done[word], word) for word in ("error", "warning") if self.done[word]]
        text = f"{count(pipelines, 'pipeline')}: {', '.join(words) or 'none written'}; {lost}"
        return "; ".join((text, *([", ".join(found)] if found else [])))


def _stem(source: str, own: str) -> str:
    """The stem for an output file: the source file's stem, otherwise the pipeline's name."""
    path = Path(source)
    return path.stem if path.is_file() else own


def _print_diff(path: Path, old: str, new: str) -> None:
    lines = (f"--- {path} (now)", f"+++ {path} (translated)", *_changes(old, new))
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


def _changes(old: str, new: str) -> Iterator[str]:
    """The hunks of a unified diff.

    ``difflib.unified_diff`` cannot turn off the ``autojunk`` of SequenceMatcher, which ignores
    frequent lines such as ``},`` and then reports unchanged lines as changed. It stays on for long
    files, where the exact comparison is too slow.
    """
    before, after = old.splitlines(), new.splitlines()
    long = max(len(before), len(after)) > _LONG_DIFF
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=long)
    for group in matcher.get_grouped_opcodes():
        yield f"@@ -{_range(group, 1)} +{_range(group, 3)} @@"
        for tag, start, end, at, to in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[start:end])
            else:
                yield from (f"-{line}" for line in before[start:end])
                yield from (f"+{line}" for line in after[at:to])


def _range(group: Sequence[tuple[Any, ...]], side: int) -> str:
    """``line,count`` of a hunk in one file; with a count of 0, the line before the hunk."""
    start, end = group[0][side], group[-1][side + 1]
    length = end - start
    return f"{start + (length > 0)}" + (f",{length}" if length != 1 else "")


def _is_mapped(loss: Loss, mapped: Collection[str]) -> bool:
    """Whether a loss is a variable of a template that got its value with ``--map``."""
    return any(f"--map '{old}=VALUE'" in loss.advice for old in mapped)
