"""Whole files: several DAGs or none, errors, and side effects on import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import MissingExtra, SourceError
from sagebridge.formats.airflow.reader import read, read_all, read_files

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]

IMPORTS = """\
from airflow.sdk import DAG, dag
from sagebridge_operators.airflow import ModelOperator
"""
MODEL = 'ModelOperator(task_id="{0}", arguments={{"EnableNetworkIsolation": True}})'
ONE = IMPORTS + "with DAG('one', schedule=None):\n    " + MODEL.format("A") + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dag.py"


def rejection(file: Path, text: str | bytes, limit: float = 60) -> str:
    """The error for a file with this source, without the file name."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (outcome,) = read_files([file], limit)
    assert isinstance(outcome, SourceError), outcome
    assert str(outcome).startswith(str(file))
    return str(outcome).removeprefix(str(file))


def test_dags_are_found_however_they_are_created(file: Path) -> None:
    file.write_text(
        ONE
        + "two = DAG('two', schedule=None)\n"
        + MODEL.format("B").replace(")", ", dag=two)")
        + "\n@dag(schedule=None)\ndef three():\n    "
        + MODEL.format("C")
        + "\n\nthree()\n\n@dag(schedule=None)\ndef never_called(): ...\n"
        + "def local():\n    return DAG('of a function', schedule=None)\n"
    )
    names = [pipeline.name for pipeline, _ in read_all(file)]
    assert names == ["one", "two", "three"]
    with pytest.raises(SourceError, match=r"has 3 DAGs; choose one: .*dag.py#one, .*#two"):
        read(file)
    assert read(f"{file}#two")[0].name == "two"
    assert [pipeline.name for pipeline, _ in read_all(f"{file}#three")] == ["three"]
    with pytest.raises(SourceError, match="has no DAG 'four'; it has one, two, three"):
        read(f"{file}#four")


def test_modules_in_the_same_folder_are_importable(tmp_path: Path) -> None:
    """Each file imports from its own folder, even if two modules have the same name."""
    files = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "common.py").write_text(f"NAME = {name!r}\n")
        (folder / "dag.py").write_text(ONE.replace("'one'", "common.NAME") + "")
        text = (folder / "dag.py").read_text()
        (folder / "dag.py").write_text("import common\n" + text)
        files.append(folder / "dag.py")
    outcomes = read_files(files)
    found = [one[0].name for one in outcomes if not isinstance(one, SourceError)]
    assert found == ["a", "b"]
    assert not list(tmp_path.rglob("__pycache__"))


def test_output_of_a_file_is_ignored(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text("import os\nprint('{')\nos.write(1, b'noise')\n" + ONE)
    assert read(file)[0].name == "one"
    assert capfd.readouterr().out == ""


FAULTY: dict[str, tuple[str, str]] = {
    "raises": ("x = 1\n\n1 / 0\n", ":3: raised on import: ZeroDivisionError: division by zero"),
    "raises in a helper": (
        "def f():\n    raise ValueError('no')\n\nf()\n",
        ":2: raised on import: ValueError: no",
    ),
    "no module": (
        "\nimport not_there.at_all\n",
        ":2: needs the module 'not_there', which is not installed; install it in",
    ),
    "no name": (
        "from airflow.sdk import NoSuchThing\n",
        ":1: imports what the installed Airflow does not have: line 1: airflow.sdk.NoSuchThing",
    ),
    "syntax": ("with DAG(:\n", ":1: is not valid Python: invalid syntax"),
    "no DAG": ("import airflow\n", ": has no DAG; assign a DAG to a module variable"),
    "exits": ("import sys\nsys.exit(3)\n", ":2: exits the program on import"),
    "exits at once": (
        "import os\nos._exit(3)\n",
        ": ended its import process (exit code 3)",
    ),
    "network": (
        "import socket\nsocket.create_connection(('127.0.0.1', 9))\n",
        ":2: uses the network on import; move this into a task",
    ),
    "process": (
        "import subprocess\nsubprocess.run(['true'])\n",
        ":2: starts or signals a process on import",
    ),
    "kills": ("import os\nos.kill(os.getppid(), 9)\n", ":2: starts or signals a process"),
    "twice": (ONE + "    " + MODEL.format("A"), ":5: raised on import: DuplicateTaskIdFound"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The error of each file, without the file name."""
    folder = tmp_path_factory.mktemp("faulty")
    files = {name: folder / f"{number}.py" for number, name in enumerate(FAULTY)}
    for name, path in files.items():
        path.write_text(FAULTY[name][0])
    outcomes = read_files(list(files.values()))
    return {
        name: str(outcome).removeprefix(str(path))
        for (name, path), outcome in zip(files.items(), outcomes, strict=True)
        if isinstance(outcome, SourceError)
    }


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_file_is_rejected(name: str, faulty: dict[str, str]) -> None:
    assert faulty[name].startswith(FAULTY[name][1])


def test_binary_file_is_rejected(file: Path) -> None:
    assert "null bytes" in rejection(file, b"\x00\xff\x00")


WRITES = (
    "open(target, 'w')",
    "pathlib.Path(target).write_text('x')",
    "os.mkdir(target)",
    "os.remove(__file__)",
    "os.rename(__file__, target)",
    "sqlite3.connect(target)",
)


def test_writing_files_is_rejected(tmp_path: Path) -> None:
    target = tmp_path / "new"
    files = [tmp_path / f"{number}.py" for number in range(len(WRITES))]
    for file, write in zip(files, WRITES, strict=True):
        file.write_text(f"import os, pathlib, sqlite3\ntarget = {str(target)!r}\n{write}\n")
    for file, outcome in zip(files, read_files(files), strict=True):
        assert str(outcome).startswith(f"{file}:3: writes to ")
    assert sorted(tmp_path.iterdir()) == files


def test_temporary_files_are_allowed(file: Path) -> None:
    text = "import tempfile\nf = tempfile.NamedTemporaryFile()\nf.write(b'x')\npath = f.name\n"
    file.write_text(text + ONE.replace("'one'", "'one', doc_md=path"))
    path = read(file)[0].description
    assert isinstance(path, str)
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import time\n\ntime.sleep(60)\n", ":3: takes more than 0.5 s to import"),
        (
            "while True:\n    try:\n        while True: pass\n    except Exception: pass\n",
            ":3: takes more than 0.5 s to import",
        ),
    ],
)
def test_import_has_a_time_limit(text: str, expected: str, file: Path) -> None:
    began = time.monotonic()
    assert rejection(file, text, limit=0.5) == expected
    assert time.monotonic() - began < 30


def test_uninterruptible_file_is_killed(file: Path) -> None:
    text = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass\n"
    assert rejection(file, text, limit=0.5) == ": takes more than 0.5 s to import"


def test_bad_file_does_not_affect_other_files(tmp_path: Path) -> None:
    texts = {"a": ONE, "b": "1 / 0\n", "c": ONE}
    files = [tmp_path / f"{name}.py" for name in texts]
    for path, text in zip(files, texts.values(), strict=True):
        path.write_text(text)
    outcomes = read_files([*files, tmp_path / "none.py", tmp_path])
    assert [isinstance(one, SourceError) for one in outcomes] == [False, True, False, True, True]
    assert "no such file" in str(outcomes[3])
    assert "a folder, not a file" in str(outcomes[4])


def test_existing_airflow_is_not_touched(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "airflow"
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/nowhere")
    monkeypatch.setenv("AIRFLOW_VAR_NAME", "from the environment")
    file.write_text(
        "from airflow.sdk import Variable\n"
        + ONE.replace("'one'", "'one', doc_md=Variable.get('name')")
    )
    assert read(file)[0].description == "from the environment"
    assert not home.exists()


def test_missing_variable_is_rejected(file: Path) -> None:
    text = "from airflow.sdk import Variable\nVariable.get('name')\n"
    expected = (
        "the Airflow Variable 'name' on import; set the environment variable AIRFLOW_VAR_NAME"
    )
    assert rejection(file, text) == f":2: needs {expected}"


def test_missing_airflow_names_the_extra(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "airflow.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'airflow'\", name='airflow')\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    file.write_text(ONE)
    with pytest.raises(MissingExtra, match=r"reading an Airflow file .*\[airflow\]'"):
        read(file)


def test_public_functions_read_dag_files(file: Path) -> None:
    file.write_text(ONE)
    assert sagebridge.read(file).pipeline.name == "one"
    assert sagebridge.read(str(file), name="other").pipeline.name == "other"
    assert '"Model"' in sagebridge.translate(file, "sagemaker").text
    assert sagebridge.validate(file) == ()


def test_findings_have_lines(file: Path) -> None:
    file.write_text(ONE + "    " + MODEL.format("B").replace(")", ", depends_on=['Ghost'])") + "\n")
    (finding,) = sagebridge.validate(file)
    assert (finding.code, finding.line) == ("unknown-step", 5)
    assert finding.pointer == "/Steps/1/DependsOn/0"


def test_unreadable_file_is_a_finding(file: Path) -> None:
    file.write_text("import airflow\n1 / 0\n")
    (finding,) = sagebridge.validate(file)
    assert (finding.code, finding.line) == ("unreadable-source", 2)
    file.write_text("import airflow(\n")
    (finding,) = sagebridge.validate(file)
    assert "not valid Python" in finding.message


DETECTED = {
    "from airflow.sdk import DAG": "airflow",
    "import airflow.models": "airflow",
    "from airflow import DAG": "airflow",
    "from sagebridge_operators.airflow import build": "airflow",
    "from sagebridge_operators import airflow": "airflow",
    "def f():\n    from airflow import DAG": "airflow",
    "import airflow_extras\nimport airflow": "airflow",
}


@pytest.mark.parametrize("text", DETECTED)
def test_format_is_detected(text: str, file: Path) -> None:
    file.write_text(text + "\n")
    assert sagebridge.registry.detect(file).name == DETECTED[text]
    assert sagebridge.registry.detect(f"{file}#dag").name == DETECTED[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import json", "imports neither airflow nor prefect; set its format with --from"),
        ("import airflow, prefect", "imports both airflow and prefect"),
        ("from . import airflow", "imports neither"),
    ],
)
def test_format_is_not_detected(text: str, expected: str, file: Path) -> None:
    file.write_text(text + "\n")
    with pytest.raises(SourceError, match=expected):
        sagebridge.registry.detect(file)


def test_reading_does_not_import_airflow(file: Path) -> None:
    file.write_text(ONE)
    code = (
        "import sys, sagebridge; sagebridge.read(sys.argv[1]); "
        "sys.exit(any(name.partition('.')[0] == 'airflow' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == 0
