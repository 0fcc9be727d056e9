"""``translate`` with folders: written files, unchanged files and exit codes."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagebridge.cli import main
from sagebridge.errors import UsageError
from sagebridge.model.display import safe_stem
from sagebridge.terminal.source_files import write_file
from tests.strategies import canonical

SMALL: dict[str, Any] = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": "f"}}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two valid definitions, a README and a subfolder."""
    source = tmp_path / "in"
    (source / "deeper").mkdir(parents=True)
    for name in ("a.json", "b.c.json", "deeper/d.json"):
        (source / name).write_text(json.dumps(SMALL))
    (source / "README.md").write_text("no pipeline")
    return source


def written(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_folder_round_trip(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    sources = sorted(corpus.glob("*.json"))
    arguments = [str(corpus), "--to", "sagemaker", "--as", "create-pipeline", "-o", str(there)]
    assert main(["translate", *arguments]) == 0
    assert f"{len(sources)} pipelines: {len(sources)} written" in capsys.readouterr().err
    assert main(["translate", str(there), "--to", "sagemaker", "-o", str(back)]) == 0
    for source in sources:
        found = json.loads((back / source.name).read_text())
        assert canonical(found) == canonical(json.loads(source.read_text()))


def test_output_files_are_named_after_sources(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main(["translate", str(folder), "--to", "airflow", "-o", str(out)]) == 0
    assert written(out) == ["a.py", "b.c.py"]
    assert main(["translate", str(folder), "--to", "airflow", "-o", str(out)]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "2 pipelines: 2 unchanged; 0 losses"


def test_sources_with_same_name_get_separate_files(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [str(folder / "a.json"), str(folder), str(folder / "deeper")]
    assert main(["translate", *sources, "--to", "sagemaker", "-o", str(out)]) == 0
    assert written(out) == ["a-2.json", "a.json", "b.c.json", "d.json"]


def test_single_source_to_folder(folder: Path, tmp_path: Path) -> None:
    source = str(folder / "a.json")
    assert main(["translate", source, "--to", "sagemaker", "-o", f"{tmp_path}/new/"]) == 0
    assert main(["translate", source, "--to", "sagemaker", "-o", str(tmp_path / "b.txt")]) == 0
    assert (tmp_path / "new" / "a.json").read_text() == (tmp_path / "b.txt").read_text()


def test_schedules_of_another_pipeline_are_reported(folder: Path, capsys: Any) -> None:
    target = {"Arn": "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/nightly"}
    request = {"Name": "n", "ScheduleExpression": "rate(1 day)", "Target": target}
    (folder / "s").write_text(json.dumps(request))
    command = ["translate", f"{folder}/a.json", "--to", "airflow", "--schedules", f"{folder}/s"]
    assert main(command) == 0
    assert "starts pipeline 'nightly', not 'a'" in capsys.readouterr().err
    assert main([*command, "--name", "nightly"]) == 0
    assert capsys.readouterr().err == ""


def test_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sagebridge.cli", "translate", "-", "--to", "sagemaker"]
    done = subprocess.run(
        [*command, "--name", "../../etc", "-o", f"{tmp_path}/out/"],
        input=json.dumps(SMALL),
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stderr == f"written {tmp_path}/out/_.._etc.json\n"
    assert written(tmp_path) == ["out"]
    assert written(tmp_path / "out") == ["_.._etc.json"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("a b\n\0c", "a_b_c"),
        ("...", "pipeline"),
        ("", "pipeline"),
        ("x" * 300, "x" * 200),
    ],
)
def test_safe_stem_stays_in_folder(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


def test_most_severe_exit_code_wins(folder: Path, tmp_path: Path) -> None:
    out = ["--to", "airflow", "-o", str(tmp_path / "out")]
    lossy, faulty, cut = (folder / name for name in ("lossy.json", "faulty.json", "cut.json"))
    lossy.write_text(json.dumps({**SMALL, "Steps": [{"Name": "A", "Type": "X", "Arguments": {}}]}))
    assert main(["translate", str(folder), *out]) == 0
    assert main(["translate", str(folder), *out, "--fail-on-loss"]) == 4
    faulty.write_text(json.dumps({**SMALL, "Steps": SMALL["Steps"] * 2}))
    assert main(["translate", str(folder), *out, "--fail-on-loss"]) == 1
    cut.write_text("{")
    assert main(["translate", str(folder), *out, "--fail-on-loss"]) == 5
    assert written(tmp_path / "out") == ["a.py", "b.c.py", "lossy.py"]


def test_check_writes_nothing(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    check = ["translate", str(folder), "--to", "airflow", "-o", str(out), "--check"]
    assert main(check) == 1
    assert not out.exists()
    assert "2 pipelines: 2 stale" in capsys.readouterr().err
    assert main(check[:-1]) == 0
    assert main(check) == 0
    (out / "a.py").write_text("edited")
    assert main(check) == 1
    assert (out / "a.py").read_text() == "edited"


def test_file_outcomes_are_printed(folder: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "a.py"
    arguments = ["translate", str(folder / "a.json"), "--to", "airflow", "-o", str(file)]
    for word in ("written", "unchanged", "replaced"):
        assert main(arguments) == 0
        assert capsys.readouterr() == ("", f"{word} {file}\n")
        if word == "unchanged":
            file.write_text("edited")
    (folder / "a.py").write_text("edited")
    assert main(["translate", str(folder), "--to", "airflow", "-o", str(folder)]) == 0
    assert "2 pipelines: 1 written, 1 replaced; 0 losses" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["airflow", "prefect", "sagemaker"])
def test_pipeline_that_cannot_run_is_reported(to: str, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "asks.json"
    steps = [
        {"Name": "Ask", "Type": "Athena", "Arguments": {}},
        {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}},
    ]
    file.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    main(["translate", str(file), "--to", to])
    line = f"{file}: warning: sagebridge cannot run steps of type Athena (step 'Ask': "
    assert (line in capsys.readouterr().err) == (to != "sagemaker")


def test_diff_writes_nothing(folder: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}\n")
    arguments = ["--to", "sagemaker", "-o", str(file), "--diff"]
    assert main(["translate", str(folder / "a.json"), *arguments]) == 0
    assert "-{}" in capsys.readouterr().out.splitlines()
    assert file.read_text() == "{}\n"


def test_diff_shows_only_changes(tmp_path: Path, capsys: Any) -> None:
    """The file has many steps, with many equal lines."""
    texts = ["old 1", "kept", "old 2"]
    steps = [
        {"Name": f"S{n}", "Type": "Lambda", "FunctionArn": "f", "Arguments": {"a": texts}}
        for n in range(40)
    ]
    file, source = tmp_path / "d.json", tmp_path / "source.json"
    source.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    arguments = ["translate", str(source), "--to", "sagemaker", "-o", str(file)]
    assert main(arguments) == 0
    assert main([*arguments, "--map", "old=new", "--diff"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    for sign, word in (("-", "old"), ("+", "new")):
        changed = [line.strip(f'{sign}, "') for line in lines if line[0] == sign]
        assert changed == [f"{word} 1", f"{word} 2"] * 40
    assert lines[0] == "@@ -7,9 +7,9 @@"


def test_losses_json_includes_failed_sources(folder: Path, tmp_path: Path) -> None:
    (folder / "cut.json").write_text("{")
    report = tmp_path / "losses.json"
    arguments = ["--to", "airflow", "-o", str(tmp_path / "out"), "--losses", str(report)]
    assert main(["translate", str(folder), *arguments]) == 5
    entries = json.loads(report.read_text())
    assert [Path(one["source"]).name for one in entries] == ["a.json", "b.c.json", "cut.json"]
    assert [one.get("losses") for one in entries] == [[], [], None]
    assert "cut off" in entries[2]["error"]


CHORES = """
from prefect import flow
from sagebridge_operators.prefect import finish, shell, stop_jobs

@flow(name="chores", on_cancellation=[stop_jobs])
def chores() -> object:
    shell("Hello", "echo hello")
    return finish()
"""


def test_no_stubs_leaves_dropped_tasks_out(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "chores.py"
    stub = '    gone = stub("Gone", "it \'needs\' a module", dropped_from="a.py:1")\n'
    file.write_text(
        CHORES.replace("shell, stop_jobs", "shell, stop_jobs, stub").replace(
            '    shell("Hello", "echo hello")', f'{stub}    shell("Hello", "x", depends_on=[gone])'
        )
    )
    arguments = ["translate", str(file), "--to", "airflow"]
    assert main(arguments) == 0
    text, said = capsys.readouterr()
    assert 'StubOperator(\n        task_id="Gone"' in text
    assert "# sagebridge: stub: Gone is a stub: it 'needs' a module; replace it" in text
    assert "dropped: Gone is a stub" in said
    assert main([*arguments, "--no-stubs"]) == 0
    text, said = capsys.readouterr()
    assert "StubOperator" not in text
    assert "depends_on" not in text
    assert "dropped: Gone is a stub" in said
    assert (
        main([*arguments, "--fail-on-loss"])
        == main([*arguments, "--no-stubs", "--fail-on-loss"])
        == 4
    )


def test_format_error_starts_with_file(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "chores.py").write_text(CHORES)

    assert main(["translate", str(tmp_path / "chores.py"), "--to", "sagemaker"]) == 1
    assert f"{tmp_path / 'chores.py'}: chores: every step is" in capsys.readouterr().err


@pytest.mark.airflow
def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """As /dev/null, which root could replace by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "text")

    assert os.read(reader, 10) == b"text"
    assert pipe.is_fifo()
    os.close(reader)


def test_reading_losses_explain_missing_steps(tmp_path: Path, capsys: Any) -> None:
    file, report = tmp_path / "waits.py", tmp_path / "losses.json"
    file.write_text(
        "from airflow.sdk import DAG, BaseOperator\n\n"
        "class Landed(BaseOperator):\n"
        "    def execute(self, context):\n"
        "        self.defer(trigger=None, method_name='execute')\n\n"
        "with DAG('waits'):\n"
        "    Landed(task_id='landed')\n"
    )
    assert main(["translate", str(file), "--to", "sagemaker", "--losses", str(report)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{file}:7: error: Steps is empty")
    assert second.startswith(f"{file}:8: dropped: task landed")
    (entry,) = json.loads(report.read_text())
    assert [one["code"] for one in entry["losses"]] == ["operator"]
    assert main(["validate", str(file)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("[no-steps] /Steps")
    assert second.startswith(f"{file}:8: warning: task landed")


class TestWriteFile:
    def test_mode_is_kept_or_follows_umask(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old", tmp_path / "new"
        old.write_text("x")
        old.chmod(0o750)
        mask = os.umask(0o027)
        try:
            write_file(old, "y")
            write_file(new, "y")
        finally:
            os.umask(mask)
        assert old.read_text() == "y"
        assert [stat.S_IMODE(file.stat().st_mode) for file in (old, new)] == [0o750, 0o640]

    def test_link_is_replaced_not_followed(self, tmp_path: Path) -> None:
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_text("mine")
        link.symlink_to(target)
        write_file(link, "new")
        assert target.read_text() == "mine"
        assert link.read_text() == "new"

    def test_failed_write_leaves_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(UsageError, match="cannot write"):
            write_file(tmp_path / "folder", "x")
        (tmp_path / "file").write_text("x")
        with pytest.raises(UsageError, match="cannot write"):
            write_file(tmp_path / "file" / "below", "x")
        assert written(tmp_path) == ["file", "folder"]


def test_progress_only_on_terminal(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sagebridge.cli", "translate", str(folder)]
    command += ["--to", "airflow", "-o", str(tmp_path / "out")]
    leader, follower = pty.openpty()
    subprocess.run(command, stderr=follower, env={**os.environ, "TERM": "xterm"}, check=True)
    os.close(follower)
    assert "Translating" in os.read(leader, 100_000).decode()
    os.close(leader)
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout == ""
    assert piped.stderr == "2 pipelines: 2 unchanged; 0 losses\n"


def test_missing_engine_skips_only_its_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Reading a hand-written flow needs Prefect, which is not installed next to Airflow."""
    hidden = tmp_path / "hidden" / "prefect.py"
    hidden.parent.mkdir()
    hidden.write_text("raise ModuleNotFoundError(\"No module named 'prefect'\", name='prefect')\n")
    paths = [str(hidden.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    flow_file = folder / "aa.py"
    flow_file.write_text("from prefect import flow\n\n\n@flow\ndef mine():\n    print(open)\n")
    out = tmp_path / "out"
    assert main(["translate", str(folder), "--to", "sagemaker", "-o", str(out)]) == 6
    assert written(out) == ["a.json", "b.c.json"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{flow_file}: tracing a Prefect flow")
    assert lines[-1] == "2 pipelines: 2 written, 1 failed; 0 losses"


WEEKLY = """
from airflow.sdk import DAG
from sagebridge_operators.airflow import ConditionOperator, FailOperator, equals, parameter

with DAG("weekly", schedule="0 3 * * 1", params={"n": 1, "team name": "a"}):
    inner = FailOperator(task_id="inner", arguments={"ErrorMessage": "x"})
    nested = ConditionOperator(
        task_id="nested", conditions=[equals(parameter("n"), 1)], if_steps=[inner]
    )
    ConditionOperator(task_id="outer", conditions=[equals(parameter("n"), 1)], if_steps=[nested])
"""


@pytest.mark.parametrize(
    ("target", "missed"), [("prefect", "runs missed slots late"), ("sagemaker", "does not run")]
)
def test_losses_and_findings_are_those_of_the_target(
    tmp_path: Path, capsys: Any, target: str, missed: str
) -> None:
    file = tmp_path / "weekly.py"
    file.write_text(WEEKLY)
    assert main(["translate", str(file), "--to", target, "-o", str(tmp_path / "out/")]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert [missed in line for line in printed if " missed " in line] == [True]
    of_sagemaker = [one for one in printed if "nested-condition" in one or "parameter-name" in one]
    assert len(of_sagemaker) == (2 if target == "sagemaker" else 0)
