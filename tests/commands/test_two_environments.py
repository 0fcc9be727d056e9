"""Commands that need Airflow and Prefect, where only one of them is installed."""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest

import sagebridge
from sagebridge import Pipeline, Step
from sagebridge.cli import main
from sagebridge.errors import MissingExtra, requirement
from sagebridge_operators.commands import deploy, run
from sagebridge_operators.commands.two_environments import require_engines
from sagebridge_operators.launch import engine_versions

PACKAGES = {"apache-airflow-core": "airflow", "prefect": "prefect"}
FILES = {
    "airflow": "from airflow.sdk import DAG\n",
    "prefect": "from prefect import flow\n",
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A file of each engine, in a folder whose name has a space."""
    monkeypatch.chdir(tmp_path)
    found = {}
    for engine, text in FILES.items():
        path = Path("my files", f"{engine} night.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found[engine] = str(path)
    return found


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> object:
    def only(*engines: str) -> None:
        def version(package: str) -> str:
            if PACKAGES.get(package) in engines:
                return "3"
            raise PackageNotFoundError(package)

        monkeypatch.setattr(engine_versions, "version", version)

    return only


def test_written_flow_runs_without_prefect(install: object, tmp_path: Path) -> None:
    install("airflow")  # type: ignore[operator]
    file = tmp_path / "written.py"
    file.write_text(sagebridge.write(Pipeline("p", [Step("A", "Fail")]), "prefect").text)
    require_engines(str(file), None, "airflow")
    traced = tmp_path / "traced.py"
    traced.write_text("from prefect import flow\n@flow\ndef f(): print(1)\n")
    if find_spec("prefect") is None:
        assert main(["run", str(traced), "--on", "airflow"]) == 6


@pytest.mark.parametrize("installed", [("airflow",), ("prefect",), ()])
def test_deploy_of_a_dag_file_prints_the_two_commands(
    installed: tuple[str, ...],
    files: dict[str, str],
    install: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(*installed)  # type: ignore[operator]
    words = ["--on", "prefect", "--name", "Night", "--upload", "a=s3://b/", "--upload", "c=s3://d/"]
    assert main(["deploy", files["airflow"], *words, "-o", "out", "--check"]) == 6
    head, first, second = capsys.readouterr().err.splitlines()
    missing = {"airflow": "Airflow", "prefect": "Prefect"}
    names = " and ".join(name for key, name in missing.items() if key not in installed)
    verb = "is" if installed else "are"
    assert head == (
        f"sagebridge: {files['airflow']}: Airflow reads this file and Prefect runs it, but "
        f"{names} {verb} not installed here; use two environments:"
    )
    engine, _, command = first.strip().partition(": ")
    assert engine == "with sagebridge[airflow]"
    assert shlex.split(command) == [
        *("sagebridge", "translate", files["airflow"], "--to", "prefect"),
        *("-o", "out/airflow_night.py", "--name", "Night"),
    ]
    engine, _, command = second.strip().partition(": ")
    assert engine == "with sagebridge[prefect]"
    assert shlex.split(command) == [
        *("sagebridge", "deploy", "out/airflow_night.py", "--on", "prefect"),
        *("--upload", "a=s3://b/", "--upload", "c=s3://d/", "--check"),
    ]


@pytest.mark.parametrize(
    ("reader", "engine", "target"),
    [
        ("airflow", "prefect", "flows/airflow_night.py"),
        ("prefect", "airflow", "dags/prefect_night.py"),
    ],
)
def test_run_on_the_other_engine_prints_the_two_commands(
    reader: str,
    engine: str,
    target: str,
    files: dict[str, str],
    install: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(reader)  # type: ignore[operator]
    assert main(["run", files[reader], "--on", engine, "-p", "A=b c"]) == 6
    *_, first, second = capsys.readouterr().err.splitlines()
    source = shlex.quote(files[reader])
    assert first.endswith(f": sagebridge translate {source} --to {engine} -o {target}")
    assert second.endswith(f": sagebridge run {target} --on {engine} --parameter 'A=b c'")


def test_both_engines_or_one_that_suffices(
    files: dict[str, str],
    install: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def reached(*more: object, **options: object) -> None:
        raise MissingExtra("reached", "local")

    monkeypatch.setattr(run, "_read", reached)
    monkeypatch.setattr(deploy, "is_installed", reached)
    install("airflow", "prefect")  # type: ignore[operator]
    for words in (["run", files["airflow"]], ["deploy", files["airflow"]]):
        assert main([*words, "--on", "prefect"]) == 6
        assert "reached needs the extra" in capsys.readouterr().err
    install("prefect")  # type: ignore[operator]
    for words in (["run", files["prefect"]], ["deploy", files["prefect"]], ["run", "x.json"]):
        assert main([*words, "--on", "prefect"]) == 6
        assert "reached needs the extra" in capsys.readouterr().err


def test_deploy_of_a_folder_with_a_dag_file(
    files: dict[str, str], install: object, capsys: pytest.CaptureFixture[str]
) -> None:
    install("prefect")  # type: ignore[operator]
    assert main(["deploy", "my files", "--on", "prefect"]) == 6
    assert f"sagebridge translate '{files['airflow']}' --to prefect" in capsys.readouterr().err


def test_missing_engine_next_to_the_other_one_needs_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sagebridge import errors

    monkeypatch.setattr(errors, "find_spec", lambda name: name if name == "prefect" else None)
    assert str(MissingExtra("reading an Airflow file", "airflow")) == (
        "reading an Airflow file needs the extra 'airflow'; this environment has Prefect, so run "
        f"the command in another one, with pip install {requirement('airflow')}"
    )
    assert f"; run: pip install {requirement('prefect')}" in str(MissingExtra("x", "prefect"))
