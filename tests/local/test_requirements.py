"""Packages that jobs install: shared by their requirements, seen by the job, never the engine's."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sagebridge_operators.backends.local import job_environment

if TYPE_CHECKING:
    from tests.local.conftest import Bench

CODE = "s3://bucket/code/sourcedir.tar.gz"
RUN = "/opt/ml/processing/input/entrypoint"
# What FrameworkProcessor of SDK 2 writes (sagemaker/processing.py, _generate_framework_script).
RUNPROC = """#!/bin/bash
cd /opt/ml/processing/input/code/
tar -xzf sourcedir.tar.gz
set -e
if [[ -f 'requirements.txt' ]]; then
    pip uninstall --yes typing
    python -m pip install -r requirements.txt
fi
python3 process.py "$@"
"""
SHOW = "import tinylib; print('version', tinylib.VERSION, tinylib.__file__)"


def wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel of one module with a VERSION and a command of the same name."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\ndef main(): print('command', VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:main\n",
    }
    record = ""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{path},sha256={digest.decode().rstrip('=')},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def source(**files: str) -> bytes:
    """A sourcedir.tar.gz; ``requirements`` is the content of requirements.txt."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo({"requirements": "requirements.txt"}.get(name, f"{name}.py"))
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder from which pip may install."""
    folder = tmp_path / "wheels"
    wheel(folder, "tinylib", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def engine_files() -> list[str]:
    """The distributions, modules and programs in the environment of the engine."""
    folders = [*site.getsitepackages(), str(Path(sys.executable).parent)]
    return sorted(str(path) for folder in folders for path in Path(folder).iterdir())


@pytest.fixture(autouse=True)
def _engine_is_unchanged() -> Any:
    """No test adds anything to the environment of the engine."""
    before = engine_files()
    yield
    assert engine_files() == before


def training(bench: Bench, name: str, script: str, requirements: str) -> dict[str, Any]:
    """Run a script-mode training job with a requirements.txt."""
    bench.store.write(CODE, source(train=script, requirements=requirements))
    code = {"sagemaker_program": "train.py", "sagemaker_submit_directory": CODE}
    return bench.run("Training", name, bench.training(code, {}))


def shared(bench: Bench) -> list[Path]:
    """The shared environments that are complete."""
    return [path.parent for path in bench.home.glob(f"environments/*/{job_environment.COMPLETE}")]


def test_script_mode_installs_requirements_for_the_job(bench: Bench) -> None:
    script = f"import subprocess, sys; {SHOW}; subprocess.run('tinylib'); print(sys.executable)"

    body = training(bench, "job", script, "tinylib==1.0  # small\n")

    log = bench.log("Training", "job")
    assert body["TrainingJobStatus"] == "Completed", log
    environment = bench.home / "jobs/Training/job/env"
    assert f"version 1.0 {environment}/lib/python" in log
    assert "command 1.0" in log
    assert f"{environment}/bin/python" in log
    assert len(shared(bench)) == 1


def test_equal_requirements_are_installed_once_for_all_kinds_of_jobs(
    bench: Bench, wheels: Path
) -> None:
    training(bench, "first", SHOW, "tinylib\n")
    (wheels / "tinylib-1.0-py3-none-any.whl").unlink()
    bench.store.write(CODE, source(process=SHOW, requirements="# again\ntinylib\n\n"))
    bench.store.write("s3://bucket/runproc.sh", RUNPROC.encode())
    inputs = {
        "code": (CODE, "/opt/ml/processing/input/code"),
        "entrypoint": ("s3://bucket/runproc.sh", RUN),
    }
    request = bench.processing("", inputs=inputs, entrypoint=["/bin/bash", f"{RUN}/runproc.sh"])

    body = bench.run("Processing", "second", request)

    log = bench.log("Processing", "second")
    assert body["ProcessingJobStatus"] == "Completed", log
    assert "version 1.0" in log
    assert "Successfully installed" not in log
    assert len(shared(bench)) == 1


def test_second_requirements_are_shared_on_top_of_the_first(bench: Bench, wheels: Path) -> None:
    """As for a function: first the SDK is installed, then the function's own requirements."""
    wheel(wheels, "otherlib", "2.0")
    bench.store.write("s3://bucket/requirements.txt", b"otherlib\n")
    script = (
        "import os; os.system('pip install -r /opt/ml/input/data/more/requirements.txt -U')\n"
        f"{SHOW}\nimport otherlib; print('other', otherlib.VERSION)"
    )
    bench.store.write(CODE, source(train=script, requirements="tinylib"))
    code = {"sagemaker_program": "train.py", "sagemaker_submit_directory": CODE}
    request = bench.training(code, {"more": "s3://bucket/requirements.txt"})
    bench.run("Training", "first", request)
    shutil.rmtree(wheels)

    body = bench.run("Training", "second", request)

    log = bench.log("Training", "second")
    assert body["TrainingJobStatus"] == "Completed", log
    assert "version 1.0" in log
    assert "other 2.0" in log
    assert log.count("are already installed in") == 2
    assert len(shared(bench)) == 2


def test_jobs_at_the_same_time_install_once(bench: Bench) -> None:
    bench.store.write("s3://bucket/requirements.txt", b"tinylib\n")
    # What the runtime of @step calls (runtime_environment_manager.py, _install_requirements_txt).
    script = (
        "import subprocess, sys\n"
        "file = '/opt/ml/processing/in/requirements.txt'\n"
        "subprocess.check_call([sys.executable, '-m', 'pip', 'install', '-r', file, '-U'])\n" + SHOW
    )
    inputs = {"in": ("s3://bucket/requirements.txt", "/opt/ml/processing/in")}
    for name in ("one", "two"):
        bench.start("Processing", name, bench.processing(script, inputs=inputs))
    for name in ("one", "two"):
        bench.wait("Processing", name)
    logs = [bench.log("Processing", name) for name in ("one", "two")]
    assert all("version 1.0" in log for log in logs), logs
    assert sum("Successfully installed" in log for log in logs) == 1


def test_incomplete_environment_is_built_again(bench: Bench) -> None:
    training(bench, "first", SHOW, "tinylib")
    (folder,) = shared(bench)
    (folder / job_environment.COMPLETE).unlink()
    (module,) = folder.glob("lib/*/site-packages/tinylib/__init__.py")
    module.unlink()

    assert training(bench, "second", SHOW, "tinylib")["TrainingJobStatus"] == "Completed"

    assert shared(bench) == [folder]
    assert module.exists()


def test_other_requirements_get_another_environment(bench: Bench, wheels: Path) -> None:
    wheel(wheels, "tinylib", "2.0")
    for version in ("1.0", "2.0"):
        training(bench, f"v{version[0]}", SHOW, f"tinylib=={version}")
        assert f"version {version}" in bench.log("Training", f"v{version[0]}")
    assert len(shared(bench)) == 2


def test_requirements_that_name_files_of_the_job_are_not_shared(bench: Bench, wheels: Path) -> None:
    wheel(wheels / "more", "otherlib", "3.0")
    local = f"--find-links {wheels}/more\notherlib\n"
    assert training(bench, "job", "import otherlib", local)["TrainingJobStatus"] == "Completed"
    assert not shared(bench)


def test_pip_in_a_script_changes_only_this_job(bench: Bench, wheels: Path) -> None:
    wheel(wheels, "tinylib", "2.0")
    training(bench, "first", SHOW, "tinylib==1.0")
    upgrade = (
        "import subprocess, sys\n"
        "pip = [sys.executable, '-m', 'pip', 'install']\n"
        "subprocess.check_call([*pip, 'tinylib==2.0'])\n" + SHOW
    )

    training(bench, "second", upgrade, "tinylib==1.0")
    training(bench, "third", SHOW, "tinylib==1.0")

    versions = [bench.log("Training", name) for name in ("first", "second", "third")]
    assert ["version 1.0" in log for log in versions] == [True, False, True]
    assert "version 2.0" in versions[1]


def test_pip_in_a_script_can_replace_a_package_of_the_engine(bench: Bench, wheels: Path) -> None:
    wheel(wheels, "pytest", "999.0")
    script = (
        "import os; os.system('pip install -q pytest==999.0')\n"
        "import pytest; print('version', pytest.VERSION)"
    )
    body = bench.run("Processing", "job", bench.processing(script))
    assert body["ProcessingJobStatus"] == "Completed"
    assert "version 999.0" in bench.log("Processing", "job")
    assert pytest.__version__ != "999.0"


def test_pip_of_another_python_installs_for_the_job(bench: Bench) -> None:
    """The script calls the Python under all environments, and the request sets PATH."""
    script = (
        "import subprocess, sys\n"
        "pip = [sys._base_executable, '-m', 'pip', 'install', 'tinylib']\n"
        "subprocess.check_call(pip); print(subprocess.getoutput('command -v pip'))\n" + SHOW
    )
    request = bench.processing(script, Environment={"PATH": "/usr/bin:/bin"})
    base = Path(sys._base_executable).resolve().parents[1]  # type: ignore[attr-defined]

    body = bench.run("Processing", "job", request)

    log = bench.log("Processing", "job")
    assert body["ProcessingJobStatus"] == "Completed", log
    environment = bench.home / "jobs/Processing/job/env"
    assert f"version 1.0 {environment}/lib" in log
    assert f"{environment}/bin/pip\n" in log
    assert not list(base.glob("lib/python3*/site-packages/tinylib"))


@pytest.mark.parametrize("command", [["-m", "pip"], ["-mpip"], ["-u", "-m", "pip"]])
def test_uv_takes_the_place_of_a_missing_pip(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "bin/uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\necho "uv $* in $VIRTUAL_ENV"\n')
    uv.chmod(0o755)
    monkeypatch.setattr(job_environment, "find_spec", lambda _: None)
    monkeypatch.setattr(job_environment, "_bundled_pip", str)
    for found, expected in {str(uv): "uv pip install x in", "": "pip is not installed"}.items():
        monkeypatch.setattr(shutil, "which", lambda _, found=found: found)
        environment = tmp_path / f"env-{bool(found)}"
        job_environment.create(environment, tmp_path / "shared")
        python = [str(environment / "bin/python"), *command, "install", "x"]
        done = subprocess.run(python, capture_output=True, text=True, check=False)
        assert expected in done.stdout + done.stderr
        assert done.returncode == (0 if found else 1)


def test_argument_of_a_script_is_not_a_pip_command(bench: Bench) -> None:
    request = bench.processing("import sys; print('got', sys.argv[1:])", "-m", "pip", "install")
    assert bench.run("Processing", "job", request)["ProcessingJobStatus"] == "Completed"
    assert "got ['-m', 'pip', 'install']" in bench.log("Processing", "job")


def test_package_that_no_index_has_is_named(bench: Bench) -> None:
    reason = training(bench, "job", "", "tinylib\nabsentlib>=4\n")["FailureReason"]
    assert reason.startswith(
        "AlgorithmError: cannot install the package absentlib>=4: no configured package index or "
        "folder has it; check the name and version, connect this machine, or set PIP_INDEX_URL"
    )
    assert "Traceback" not in reason
    assert not shared(bench)


def test_package_without_network_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    reason = training(bench, "job", "", "absentlib==1.0")["FailureReason"]
    assert "cannot install the package absentlib==1.0: no package index can be reached" in reason


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("pandas>=2,<3 ; python_version > '3'", True),
        ("torch[a,b]==2.1+cpu", True),
        ("x==1 --hash=sha256:00 --hash=sha256:11", True),
        ("--extra-index-url https://download.example/whl/cpu", True),
        ("-r base.txt", False),
        ("-e .", False),
        ("./lib", False),
        ("lib.whl", False),
        ("x @ file:///tmp/x.whl", False),
        ("x @ git+https://host/x", False),
        ("--index-url https://${TOKEN}@host/simple", False),
        ("--index-url file:///simple", False),
    ],
)
def test_only_requirements_without_files_are_shared(
    line: str,
    plain: bool,
    tmp_path: Path,
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"first \\\n  ==1  # comment\n{line}\n")
    packages = tmp_path / f"lib/python3.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    found = job_environment._shareable(tmp_path, {"base": ""}, ["install", "-r", str(file)])
    assert found == (["first ==1", line] if plain else None)


def test_model_code_installs_its_requirements(bench: Bench) -> None:
    """In a transform job, code/requirements.txt of the model's archive is installed."""
    inference = "import tinylib\ndef model_fn(folder): return tinylib.VERSION\n"
    inference += "def transform_fn(model, body, kind, accept): return f'{model} {body}'\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in {"inference.py": inference, "requirements.txt": "tinylib"}.items():
            member = tarfile.TarInfo(f"code/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    bench.store.write("s3://bucket/model.tar.gz", buffer.getvalue())
    bench.store.write("s3://bucket/batch/a.csv", b"1,2")
    container = {
        "Image": "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
        "ModelDataUrl": "s3://bucket/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
    }
    bench.records.insert("Model", "model", {"PrimaryContainer": container})
    request = {
        "ModelName": "model",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/batch"}}
        },
        "TransformOutput": {"S3OutputPath": "s3://bucket/predictions"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }
    body = bench.run("Transform", "job", request)
    assert body["TransformJobStatus"] == "Completed", bench.log("Transform", "job")
    assert bench.text("s3://bucket/predictions/a.csv.out") == "1.0 1,2"
