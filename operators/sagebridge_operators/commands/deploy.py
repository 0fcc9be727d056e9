"""``sagebridge deploy``."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sagebridge.errors import MissingExtra, SagebridgeError, UsageError
from sagebridge.terminal.console import print_json, printable
from sagebridge.terminal.options import from_option
from sagebridge.terminal.source_files import content, expand, write_file
from sagebridge.terminal.wording import finding_line
from sagebridge_operators.backends import NAMES, default_name
from sagebridge_operators.commands.execution_printing import warn
from sagebridge_operators.commands.shared_options import aws_errors, format_option, upload_option
from sagebridge_operators.launch.flow_deployment import Deployment, FlowFile, flow_files
from sagebridge_operators.launch.uploads import Upload
from sagebridge_operators.launch.workdir import Workdir

if TYPE_CHECKING:
    from sagebridge_operators.launch.prefect_deployments import Server

_WORST_FIRST = (6, 5, 2, 1)


@click.command(short_help="Make pipelines deployments of a Prefect server.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--on", "engine", type=click.Choice(("prefect",)), required=True, help="Where to deploy to."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="flows",
    show_default=True,
    help="The folder for the flow files of sources that are none.",
)
@click.option("--overwrite", is_flag=True, help="Replace flow files that a person edited, too.")
@from_option
@click.option("--name", help="Call the pipeline by this name instead of its own.")
@click.option(
    "--work-pool",
    envvar="PREFECT_DEFAULT_WORK_POOL_NAME",
    default="sagebridge",
    show_default=True,
    help="Whose workers run it; made, for processes, where it does not exist.",
)
@click.option(
    "--backend", type=click.Choice(NAMES), help="Where the jobs run; else as workers say."
)
@click.option(
    "--workdir",
    type=click.Path(path_type=Path),
    help="The workers' folder of records, jobs and the local store; else as they say.",
)
@upload_option
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 where something would.")
@format_option
@aws_errors
def deploy(
    sources: tuple[str, ...],
    engine: str,
    output: Path,
    overwrite: bool,
    from_: str | None,
    name: str | None,
    work_pool: str,
    backend: str | None,
    workdir: Path | None,
    uploads: tuple[str, ...],
    check: bool,
    form: str,
) -> int:
    """Make pipelines deployments of the Prefect server that PREFECT_API_URL, or the profile, names.

    A SOURCE may be a folder. A flow file is deployed as it is; of any other source a flow file is
    written first. Its code is executed to learn its parameters. Workers start in the folder that
    the command is run in, whose prefect.yaml gets the deployment too.

    What is deployed already is not touched. A file that fails does not stop the others.
    """
    del engine
    if find_spec("prefect") is None:
        raise MissingExtra("deploying to Prefect", "prefect")
    files = expand(sources)
    if not work_pool:
        raise UsageError("--work-pool is empty: name a pool, or leave it out")
    if name is not None and (len(files) > 1 or files != list(sources)):
        raise UsageError("--name is for one pipeline, and there are several sources")
    from sagebridge_operators.launch.prefect_deployments import connect

    place = Workdir.of(workdir or Path(".sagebridge"), backend or default_name())
    sending = [Upload.parse(upload) for upload in uploads]
    if sending and place.backend_name == "local":
        place.check_writable()
    with connect() as server:
        run = _Run(
            server=server,
            work_pool=work_pool,
            variables=_variables(place, backend, workdir),
            overwrite=overwrite,
            check=check,
        )
        run.make_pool()
        for upload in () if check else sending:
            upload.send(place.backend.client("s3"))
        for source in files:
            run.take(source, from_, name, output)
        run.keep()
    run.report(form)
    return next((code for code in _WORST_FIRST if code in run.codes), 0)


def _variables(place: Workdir, backend: str | None, workdir: Path | None) -> dict[str, str]:
    """What the workers are told, of what the command was told."""
    told = {"SAGEBRIDGE_BACKEND"} if backend else set()
    if workdir is not None:
        told |= {"SAGEBRIDGE_HOME", "SAGEBRIDGE_BASE", "SAGEBRIDGE_RECORDS"}
    return {name: value for name, value in place.variables().items() if name in told}


@dataclass(slots=True)
class _Run:
    """One call of the command: what it was asked, and what came of it."""

    server: Server
    work_pool: str
    variables: dict[str, str]
    overwrite: bool
    check: bool
    codes: set[int] = field(default_factory=set)
    done: list[dict[str, Any]] = field(default_factory=list)
    claimed: dict[str, str] = field(default_factory=dict)
    deployed: list[Deployment] = field(default_factory=list)

    def make_pool(self) -> None:
        if not self.server.has_pool(self.work_pool):
            self._note("created", work_pool=self.work_pool)
            if not self.check:
                self.server.make_pool(self.work_pool)

    def take(self, source: str, format: str | None, name: str | None, folder: Path) -> None:
        """Deploys the flows of a source, or says why it has none."""
        try:
            for file in flow_files(source, format, name, folder):
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
            result = self.server.compare(one) if self.check else self.server.apply(one)
            self._note(
                result.outcome,
                changed=result.changed,
                deployment=one.full_name,
                entrypoint=one.entrypoint,
                url=result.url,
            )

    def _claim(self, thing: str, source: str) -> None:
        """Raises UsageError where another source of this call has made it."""
        if self.claimed.setdefault(thing, source) != source:
            other = self.claimed[thing]
            raise UsageError(f"{source}: {thing} is also that of {other}; rename one of the two")

    def keep(self) -> None:
        """Puts what is deployed into prefect.yaml."""
        from sagebridge_operators.launch import prefect_yaml

        file = prefect_yaml.FILE
        entries = [one.entry() for one in self.deployed]
        try:
            text = prefect_yaml.updated(file, entries)
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
        if form == "json":
            print_json(self.done)
            return
        for one in self.done:
            if one["outcome"] != "failed":
                click.echo(printable(_line(one, check=self.check)))
        made = [one for one in self.done if "deployment" in one and one["outcome"] == "created"]
        if made and not self.check:
            click.echo(f"to run it: prefect worker start --pool {self.work_pool}")


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
