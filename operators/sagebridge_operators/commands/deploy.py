"""``sagebridge deploy``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sagebridge.authoring.prefect_deployment import has_template
from sagebridge.errors import MissingExtra, SagebridgeError, UsageError
from sagebridge.terminal.changes import Changes
from sagebridge.terminal.console import print_json, printable
from sagebridge.terminal.help_tables import TableCommand
from sagebridge.terminal.options import (
    arg_option,
    format_option,
    from_option,
    map_option,
    schedules_option,
    single_name_option,
)
from sagebridge.terminal.source_files import content, expand, write_file
from sagebridge.terminal.wording import finding_line
from sagebridge_operators.backends import default_name
from sagebridge_operators.commands.execution_printing import warn
from sagebridge_operators.commands.shared_options import aws_errors, upload_option
from sagebridge_operators.commands.two_environments import require_engines
from sagebridge_operators.launch.engine_versions import is_installed
from sagebridge_operators.launch.flow_deployment import Deployment, FlowFile, flow_files
from sagebridge_operators.launch.uploads import Upload
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.backend import NAMES

if TYPE_CHECKING:
    from sagebridge_operators.launch.prefect_deployments import Server

_WORST_FIRST = (6, 5, 2, 1)


@click.command(
    cls=TableCommand,
    short_help="Deploy pipelines to a Prefect server.",
    tables={
        "Exit codes": {
            "0": "Deployed, or already up to date.",
            "1": "A pipeline cannot be deployed, a flow file with local edits was kept, or --check "
            "found differences.",
            "2": "Wrong options.",
            "5": "A source cannot be read.",
            "6": "An extra is not installed, or the server does not respond.",
        }
    },
    epilog="With several sources, the exit code is the first of 6, 5, 2, 1 that applies.",
    examples=(
        "sagebridge deploy flows/nightly.py --on prefect",
        "sagebridge deploy pipelines/ --on prefect -o flows/ --check",
        "sagebridge deploy a.json --on prefect -o flows/prod/ --map prod.yaml",
    ),
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@arg_option
@click.option(
    "--on",
    "engine",
    type=click.Choice(("prefect",)),
    required=True,
    metavar="ENGINE",
    help="Engine to deploy to: prefect.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    default="flows",
    show_default=True,
    help="Folder for generated flow files.",
)
@click.option(
    "--overwrite", is_flag=True, help="Overwrite generated flow files that have local edits."
)
@from_option
@single_name_option
@schedules_option
@map_option
@click.option(
    "--work-pool",
    metavar="NAME",
    envvar="PREFECT_DEFAULT_WORK_POOL_NAME",
    default="sagebridge",
    show_default=True,
    help="Work pool to deploy to. Created as a process pool if missing.",
)
@click.option(
    "--backend",
    type=click.Choice(NAMES),
    help="Where jobs run: on AWS or on the worker's machine. Default: the worker's "
    "SAGEBRIDGE_BACKEND.",
)
@click.option(
    "--workdir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Working folder of the workers: execution records, jobs and the local store. Default: the "
    "worker's SAGEBRIDGE_HOME.",
)
@upload_option
@click.option("--check", is_flag=True, help="Change nothing. Exit with 1 if anything would change.")
@format_option
@aws_errors
def deploy(
    sources: tuple[str, ...],
    engine: str,
    output: Path,
    overwrite: bool,
    from_: str | None,
    name: str | None,
    changes: Changes,
    work_pool: str,
    backend: str | None,
    folder: Path | None,
    uploads: tuple[str, ...],
    check: bool,
    form: str,
) -> int:
    """Deploy pipelines to a Prefect server.

    Set the server with PREFECT_API_URL or the active Prefect profile. A flow file is deployed
    unchanged. For any other source, and with --map or --schedules, a flow file is generated first.
    To read a flow's parameters, its file is imported. 'sagebridge --help' lists the kinds of
    SOURCE.

    Deployments are also written to prefect.yaml in the current folder, and their runs start in
    this folder. Deployments that are up to date are not changed. If one file fails, the others are
    still deployed.
    """
    files = expand(sources)
    for source in files:
        require_engines(source, from_, engine)
    if not is_installed(engine):
        raise MissingExtra("deploying to Prefect", engine)
    if not work_pool:
        raise UsageError("--work-pool is empty; pass the name of a work pool")
    if name is not None and (len(files) > 1 or files != list(sources)):
        raise UsageError("--name requires a single source")
    changes.check_sources(len(files))
    from sagebridge_operators.launch.prefect_deployments import connect

    workdir = Workdir.of(folder or Path(".sagebridge"), backend or default_name())
    sending = [Upload.parse(upload) for upload in uploads]
    if sending and workdir.backend_name == "local":
        workdir.check_writable()
    with connect() as server:
        run = _Run(
            server=server,
            work_pool=work_pool,
            variables=_variables(workdir, backend, folder),
            changes=changes,
            overwrite=overwrite,
            check=check,
        )
        run.create_pool()
        for upload in () if check else sending:
            upload.send(workdir.backend.client("s3"))
        for source in files:
            run.deploy_source(source, from_, name, output)
        run.update_yaml()
    run.report(form)
    return next((code for code in _WORST_FIRST if code in run.codes), 0)


def _variables(workdir: Workdir, backend: str | None, folder: Path | None) -> dict[str, str]:
    """Environment variables for the workers, only for options that were given."""
    names = {"SAGEBRIDGE_BACKEND"} if backend else set()
    if folder is not None:
        names |= {"SAGEBRIDGE_HOME", "SAGEBRIDGE_BASE", "SAGEBRIDGE_RECORDS"}
    return {name: value for name, value in workdir.variables().items() if name in names}


@dataclass(slots=True)
class _Run:
    """One run of the command: its options and the results so far."""

    server: Server
    work_pool: str
    variables: dict[str, str]
    changes: Changes
    overwrite: bool
    check: bool
    codes: set[int] = field(default_factory=set)
    done: list[dict[str, Any]] = field(default_factory=list)
    claimed: dict[str, str] = field(default_factory=dict)
    deployed: list[Deployment] = field(default_factory=list)

    def create_pool(self) -> None:
        if not self.server.has_pool(self.work_pool):
            self._note("created", work_pool=self.work_pool)
            if not self.check:
                self.server.create_pool(self.work_pool)

    def deploy_source(
        self, source: str, format: str | None, name: str | None, folder: Path
    ) -> None:
        """Deploy the flows of a source, or report why it cannot be deployed."""
        try:
            for file in flow_files(source, format, name, folder, self.changes):
                self._deploy(source, file)
        except MissingExtra:
            raise
        except SagebridgeError as error:
            self._fail(source, error)

    def _deploy(self, source: str, file: FlowFile) -> None:
        from sagebridge_operators.launch.prefect_deployments import deployments

        for finding in file.findings:
            click.echo(finding_line(source, finding).plain, err=True)
        for loss in file.losses:
            click.echo(printable(str(loss)), err=True)
        for pipeline in file.pipelines:
            warn(pipeline)
        if file.text is not None:
            self._claim(str(file.path), source)
        if file.is_stale:
            outcome = "updated" if file.path.exists() else "created"
            if not self.check:
                file.write(overwrite=self.overwrite)
            self._note(outcome, file=str(file.path))
        for one in deployments(file, work_pool=self.work_pool, variables=self.variables):
            self._claim(one.full_name, source)
            self.deployed.append(one)
            for schedule in filter(has_template, one.schedules):
                what = f"schedule {schedule['slug']!r} has a string that prefect.yaml would render"
                click.echo(printable(f"{source}: {what}; it is not in that file"), err=True)
            result = self.server.compare(one) if self.check else self.server.apply(one)
            self._note(
                result.outcome,
                changed=result.changed,
                deployment=one.full_name,
                entrypoint=one.entrypoint,
                url=result.url,
            )

    def _claim(self, thing: str, source: str) -> None:
        """Raise UsageError if another source produced the same file or deployment."""
        if self.claimed.setdefault(thing, source) != source:
            other = self.claimed[thing]
            raise UsageError(f"{source}: {other} also makes {thing}; rename one of the pipelines")

    def update_yaml(self) -> None:
        """Write the deployments to prefect.yaml."""
        from sagebridge_operators.launch import prefect_yaml

        file = prefect_yaml.FILE
        entries = [one.entry() for one in self.deployed]
        try:
            text = prefect_yaml.merge_deployments(file, entries)
        except SagebridgeError as error:
            self._fail(str(file), error)
            return
        if entries and content(file) != text:
            self._note("updated" if file.exists() else "created", file=str(file))
            if not self.check:
                write_file(file, text)

    def _note(self, outcome: str, **what: Any) -> None:
        if self.check and outcome != "unchanged":
            self.codes.add(1)
        self.done.append({**what, "outcome": outcome})

    def _fail(self, source: str, error: SagebridgeError) -> None:
        for line in str(error).splitlines():
            click.echo(printable(line), err=True)
        self.codes.add(error.exit_code)
        self.done.append({"source": source, "outcome": "failed", "error": str(error)})

    def report(self, form: str) -> None:
        self.changes.warn()
        if form == "json":
            print_json(self.done)
            return
        for one in self.done:
            if one["outcome"] != "failed":
                click.echo(printable(_line(one, check=self.check)))
        created = [one for one in self.done if "deployment" in one and one["outcome"] == "created"]
        if created and not self.check:
            click.echo(f"to start a worker: prefect worker start --pool {self.work_pool}")


def _line(one: dict[str, Any], *, check: bool) -> str:
    thing = next(one[key] for key in ("deployment", "file", "work_pool") if key in one)
    kind = "work pool " if "work_pool" in one else ""
    outcome = one["outcome"]
    if check and outcome != "unchanged":
        outcome = f"would be {outcome}"
    if changed := one.get("changed"):
        outcome += f" ({', '.join(changed)})"
    url = f"  {one['url']}" if one.get("url") else ""
    return f"{kind}{thing}: {outcome}{url}"
