"""Create the virtual environments of this checkout. Needs only the standard library.

`python3 tools/bootstrap.py airflow` creates `.venvs/airflow` from `requirements/airflow.txt` with
hash checking, and installs this project in editable mode. Nothing is installed outside `.venvs`. If
the environment is up to date, nothing happens.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")


class Size(NamedTuple):
    """Disk space of an environment, and the time to install it at about 20 MB/s."""

    megabytes: int
    seconds: int


SIZES = {
    "airflow": Size(1100, 60),
    "airflow-2.11": Size(900, 60),
    "airflow-3.0": Size(1000, 60),
    "airflow-3.1": Size(1000, 60),
    "airflow-3.4": Size(1000, 60),
    "prefect": Size(750, 45),
    "prefect-3.7": Size(800, 45),
    "sagemaker": Size(350, 30),
    "sagemaker-3": Size(1100, 60),
    "uv": Size(80, 15),
}


class BootstrapError(Exception):
    """An environment cannot be created. The message lists what is missing, and how to fix it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the environments in ``arguments``; return 0, or 1 with the error on stderr."""
    parser = argparse.ArgumentParser(description="Create virtual environments for this checkout.")
    parser.add_argument(
        "environments", nargs="+", metavar="ENV", choices=SIZES, help=", ".join(SIZES)
    )
    parser.add_argument(
        "--venvs",
        type=Path,
        default=CHECKOUT / ".venvs",
        metavar="DIR",
        help="parent folder (default: .venvs in the checkout)",
    )
    parser.add_argument(
        "--python",
        metavar="EXE",
        help="Python interpreter (default: the current one, or one on PATH)",
    )
    options = parser.parse_args(arguments)
    try:
        for name in options.environments:
            ensure(name, options.venvs.resolve(), options.python)
    except (BootstrapError, OSError) as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bootstrap: interrupted; run it again to continue", file=sys.stderr)
        return 130
    return 0


def ensure(name: str, venvs: Path, python: str | None) -> None:
    """Create or update the environment `name` in `venvs`."""
    venv = venvs / name
    if is_current(venv, name):
        return
    uv = find_uv(venvs, python) if name != "uv" else None
    with lock(venvs):
        if is_current(venv, name):
            return
        if not is_stamped(venv, "pins", pins(name, venv)):
            interpreter = find_python(python)
            check_space(name, venvs)
            size = SIZES[name]
            log(f"{name}: creating {venv} (about {size.megabytes} MB, {size.seconds} s)")
            began = time.monotonic()
            (venv / "pins").unlink(missing_ok=True)
            if uv:
                install_pins(name, venv, interpreter, uv)
            else:
                install_uv(venv, interpreter)
            (venv / "pins").write_text(pins(name, venv))
            log(f"{name}: ready in {time.monotonic() - began:.0f} s")
        if uv:
            install_project(venv, uv)
            (venv / "project").write_text(project())


def is_current(venv: Path, name: str) -> bool:
    """Whether the environment matches the current requirements and project metadata."""
    return is_stamped(venv, "pins", pins(name, venv)) and (
        name == "uv" or is_stamped(venv, "project", project())
    )


def is_stamped(venv: Path, stamp: str, wanted: str) -> bool:
    """Whether the stamp file, which is written last, matches, and the interpreter exists."""
    try:
        return (venv / stamp).read_text() == wanted and (venv / "bin/python").exists()
    except OSError:
        return False


def pins(name: str, venv: Path) -> str:
    """The hash of the requirements file and the location; environments cannot be moved."""
    parts = (requirements(name).read_bytes(), os.fsencode(venv))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def project() -> str:
    """The hash of the project's metadata and location; its code is not copied."""
    parts = ((CHECKOUT / "pyproject.toml").read_bytes(), os.fsencode(CHECKOUT))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def requirements(name: str) -> Path:
    return CHECKOUT / "requirements" / f"{name}.txt"


@contextlib.contextmanager
def lock(venvs: Path) -> Iterator[None]:
    """Lock the folder against other bootstraps. The kernel unlocks it if this process dies."""
    try:
        import fcntl
    except ImportError:
        raise BootstrapError("needs Linux or macOS; on Windows, run it inside WSL") from None
    venvs.mkdir(parents=True, exist_ok=True)
    with (venvs / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"waiting for another bootstrap of {venvs}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_python(requested: str | None) -> str:
    """An interpreter of a supported version: `requested`, the current one, or one on PATH."""
    candidates = (
        [requested] if requested else [sys.executable, *(f"python{v}" for v in reversed(PYTHONS))]
    )
    seen = []
    for candidate in candidates:
        version = version_of(candidate)
        if version in PYTHONS:
            return shutil.which(candidate) or candidate
        if version:
            seen.append(f"{candidate} is {version}")
    found = "; ".join(seen) or f"{requested} does not run"
    raise BootstrapError(
        f"needs Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}, but {found}. Install one of "
        f"them (Debian, Ubuntu: apt install python3 python3-venv) and put it on PATH."
    )


def version_of(interpreter: str) -> str | None:
    """The version as "major.minor"; None if the interpreter does not exist or start."""
    report = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run(
            [interpreter, "-c", report], check=False, capture_output=True, text=True
        )
    except OSError:
        return None
    return result.stdout.strip() or None


def find_uv(venvs: Path, python: str | None) -> str:
    """The uv on PATH; otherwise one installed by pip next to the environments, with hashes."""
    found = shutil.which("uv")
    if found:
        return found
    ensure("uv", venvs, python)
    return str(venvs / "uv/bin/uv")


def install_uv(venv: Path, interpreter: str) -> None:
    """Install uv into its own environment with pip."""
    if subprocess.run(
        [interpreter, "-c", "import ensurepip, venv"], check=False, capture_output=True
    ).returncode:
        version = version_of(interpreter)
        raise BootstrapError(
            f"{interpreter} cannot create virtual environments: venv or ensurepip is missing. "
            f"Debian, Ubuntu: apt install python{version}-venv. Alternatively, put uv on PATH."
        )
    run([interpreter, "-m", "venv", "--clear", str(venv)], venv)
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    run([*pip, "--require-hashes", "--requirement", str(requirements("uv"))], venv)


def install_pins(name: str, venv: Path, interpreter: str, uv: str) -> None:
    """Create an environment from its requirements, with hash checking."""
    run([uv, "venv", "--quiet", "--clear", "--python", interpreter, str(venv)], venv)
    hashed = ["--require-hashes", "--compile-bytecode", "--requirement", str(requirements(name))]
    run([*uv_install(uv, venv), *hashed], venv)


def install_project(venv: Path, uv: str) -> None:
    """Install this checkout in editable mode, with the pinned build backend."""
    editable = ["--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT)]
    run([*uv_install(uv, venv), *editable], venv)


def uv_install(uv: str, venv: Path) -> list[str]:
    return [uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python")]


def run(command: list[str], venv: Path) -> None:
    """Run one step of creating `venv`; its error output is passed through."""
    result = subprocess.run(command, check=False, env=environment(venv.parent), cwd=CHECKOUT)
    if result.returncode:
        free = shutil.disk_usage(venv.parent).free // 2**20
        raise BootstrapError(
            f"cannot create {venv}: {Path(command[0]).name} ended with {result.returncode}; see "
            f"its output above. Check the network and the disk space ({free} MB free), then run "
            f"this again. Downloads are cached."
        )


def environment(venvs: Path) -> dict[str, str]:
    """The environment for children: bytecode enabled, and caches in `venvs` without a HOME."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
    result = {key: value for key, value in os.environ.items() if key not in unwanted}
    result["UV_PYTHON_DOWNLOADS"] = "never"
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        result.setdefault("UV_CACHE_DIR", str(venvs / ".cache/uv"))
        result.setdefault("PIP_CACHE_DIR", str(venvs / ".cache/pip"))
    return result


def check_space(name: str, venvs: Path) -> None:
    """Raise BootstrapError before the download if there is not enough disk space."""
    free, needed = shutil.disk_usage(venvs).free // 2**20, SIZES[name].megabytes
    if free < needed:
        raise BootstrapError(
            f"{name} needs about {needed} MB, but {venvs} has {free} MB free; free some space or "
            f"choose another folder with --venvs DIR"
        )


def log(message: str) -> None:
    print(f"bootstrap: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
