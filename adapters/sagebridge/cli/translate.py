"""``sagebridge translate``."""

from __future__ import annotations

import difflib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from rich.progress import track

import sagebridge
from sagebridge.checked_reading import CheckedPipeline, read_each_checked, unreported
from sagebridge.environment_mapping import rewrite
from sagebridge.errors import (
    FormatError,
    LossesForbidden,
    SagebridgeError,
    SourceError,
    Stale,
    Untranslatable,
    UsageError,
)
from sagebridge.findings import Finding
from sagebridge.model.display import free_name
from sagebridge.model.losses import Loss, counted
from sagebridge.registry import FORMATS, find
from sagebridge.terminal.console import console, count, dump_json, printable
from sagebridge.terminal.options import from_option
from sagebridge.terminal.source_files import content, expand, safe_stem, write_file
from sagebridge.terminal.wording import finding_line

_DOCUMENTS = tuple(name for form in FORMATS.values() for name in form.documents)
_WORST_FIRST = (6, 5, 2, 1, 4)
_LONG_DIFF = 1000
"""Lines from which on a diff is made fast rather than small."""


@click.command(short_help="Translate pipelines into another format.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--to", required=True, type=click.Choice(tuple(FORMATS)), help="The format to write.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="The file to write; for several pipelines the folder, with a file each, named after its "
    "source. A file that is there is replaced, edits of yours included: --diff shows how, and "
    "writes nothing. Without -o the text goes to standard output.",
)
@from_option
@click.option("--name", help="Call the pipeline by this name instead of its own.")
@click.option(
    "--as",
    "document",
    type=click.Choice(_DOCUMENTS),
    help="Which document of SageMaker's to write: the definition alone, or with its name, role, "
    "tags and limits as a CreatePipeline request or a CloudFormation template.",
)
@click.option(
    "--map",
    "mappings",
    metavar="OLD=NEW",
    multiple=True,
    help="Put NEW for OLD in every text of the pipelines, for another account, role, bucket or "
    "image. May be repeated; names and references stay.",
)
@click.option("--losses", "losses_file", metavar="FILE", help="Write all losses as JSON.")
@click.option(
    "--fail-on-loss",
    is_flag=True,
    help="Exit with 4, and write no file, where a pipeline loses more than information.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file is stale.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
def translate(
    sources: tuple[str, ...],
    to: str,
    output: str | None,
    from_: str | None,
    name: str | None,
    document: str | None,
    mappings: tuple[str, ...],
    losses_file: str | None,
    fail_on_loss: bool,
    check: bool,
    diff: bool,
) -> int:
    """Translate pipelines into another format; what it cannot say is told, a line a loss.

    A SOURCE may be a folder, which stands for its *.json, *.yaml and *.py files. A file that fails
    does not stop the others.

    A loss is "changed" (it means another thing there, or is kept though sagebridge does not know
    it), "dropped" (it is not there) or "info" (said in another way; does not count for
    --fail-on-loss). Of several exit codes the worst is given: 6 or 5, then 1, then 4.
    """
    find(to).writer(document)
    if output is None and (check or diff):
        raise UsageError("--check and --diff compare with a file: name it with -o")
    files = expand(sources)
    several = len(files) > 1 or files != list(sources)
    if name is not None and several:
        raise UsageError("--name is for one pipeline, and there are several sources")
    run = _Run(
        to=to,
        document=document,
        name=name,
        mapping=_mapping(mappings),
        output=None if output is None else Path(output),
        into_folder=several or _is_folder(output),
        several=several,
        fail_on_loss=fail_on_loss,
        write=not (check or diff),
        check=check,
        diff=diff,
    )
    if several and run.output is None:
        raise UsageError("several sources need a folder to write to: name it with -o")
    if run.output is not None and run.into_folder and run.output.is_file():
        raise UsageError(f"{run.output} is a file, and several sources need a folder: name one")
    for source, result in _progress(files, from_, several):
        run.take(source, result)
    run.finish(losses_file)
    return next((code for code in _WORST_FIRST if code in run.codes), 0)


def _is_folder(output: str | None) -> bool:
    return output is not None and (output.endswith("/") or Path(output).is_dir())


def _mapping(words: Sequence[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not old or not sign:
            raise UsageError(f"--map {word}: OLD=NEW is expected")
        if mapping.setdefault(old, new) != new:
            raise UsageError(f"--map gives {old!r} two values")
    return mapping


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
    """One call of the command: what it was asked, and what became of each pipeline."""

    to: str
    document: str | None
    name: str | None
    mapping: Mapping[str, str]
    output: Path | None
    into_folder: bool
    several: bool
    fail_on_loss: bool
    write: bool
    check: bool
    diff: bool
    codes: set[int] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    taken: set[str] = field(default_factory=set)
    unused: set[str] = field(default_factory=set)
    report: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.unused = set(self.mapping)

    def take(self, source: str, result: list[CheckedPipeline] | SagebridgeError) -> None:
        """Translate the pipelines of a source, or say why it has none."""
        if isinstance(result, SagebridgeError):
            self._fail(source, result)
            return
        if len(result) > 1 and not (self.output and self.into_folder):
            names = ", ".join(f"{source}#{one.pipeline.name}" for one in result)
            fix = f"name one of them ({names}), or a folder with -o"
            self._fail(source, SourceError(source, f"holds {len(result)} pipelines", fix))
            return
        for one in result:
            own = self.name or one.pipeline.name or "pipeline"
            try:
                self._translate(source, own if len(result) > 1 else _stem(source, own), one)
            except SagebridgeError as error:
                self._fail(source, error)

    def _translate(self, source: str, stem: str, one: CheckedPipeline) -> None:
        pipeline, unused = rewrite(one.pipeline, self.mapping)
        self.unused &= set(unused)
        if self.name is not None:
            pipeline = replace(pipeline, name=self.name)
        text, lost = sagebridge.write(pipeline, self.to, document=self.document)
        losses = (*one.losses, *lost)
        self._tell(source, pipeline.name, losses, unreported(one.findings, losses))
        if self.fail_on_loss and (serious := counted(losses)):
            raise LossesForbidden(source, len(serious))
        if self.output is None:
            click.echo(text, nl=False)
            return
        path = self.output
        if self.into_folder:
            stem = free_name(safe_stem(stem), self.taken, separator="-")
            self.taken.add(stem)
            path = path / f"{stem}{find(self.to).suffix}"
        self._put(path, text)

    def _put(self, path: Path, text: str) -> None:
        old = content(path)
        if old == text:
            self._did("unchanged", path)
            return
        if self.diff:
            _print_diff(path, old or "", text)
        if self.write:
            word = "replaced" if os.path.lexists(path) else "written"
            write_file(path, text)
            self._did(word, path)
        else:
            self.done["stale"] += 1
        if self.check:
            raise Stale(str(path), missing=old is None)

    def _did(self, word: str, path: Path) -> None:
        """Count what became of a file; of many files the summary tells it."""
        self.done[word] += 1
        if self.write and not self.several:
            click.echo(printable(f"{word} {path}"), err=True)

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
        if not isinstance(error, Stale | LossesForbidden):
            self.done["failed"] += 1
            told: dict[str, Any] = {"source": source, "target": self.to, "error": str(error)}
            if isinstance(error, Untranslatable) and error.losses:
                told["losses"] = [loss.as_json() for loss in error.losses]
            self.report.append(told)

    def finish(self, losses_file: str | None) -> None:
        translated = any("error" not in one for one in self.report)
        for old in self.mapping:
            if translated and old in self.unused:
                click.echo(printable(f"warning: --map {old!r} changes nothing"), err=True)
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
    """What a source's file is called: after a file's stem, else after its pipeline."""
    path = Path(source)
    return path.stem if path.is_file() else own


def _print_diff(path: Path, old: str, new: str) -> None:
    lines = (f"--- {path} (now)", f"+++ {path} (translated)", *_changes(old, new))
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


def _changes(old: str, new: str) -> Iterator[str]:
    """The hunks of a unified diff.

    Unlike those of ``difflib.unified_diff`` they do not show as changed what stays the same but
    stands in a file many times, as ``},`` does; in long files that would take too long.
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
    """``line,count`` of a hunk in one of the files; a count of 0 follows the line before it."""
    start, end = group[0][side], group[-1][side + 1]
    length = end - start
    return f"{start + (length > 0)}" + (f",{length}" if length != 1 else "")
