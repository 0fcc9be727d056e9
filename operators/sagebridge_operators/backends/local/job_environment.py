"""The Python environment of a job. It is also the job's ``pip`` command.

Each job has its own virtual environment. A ``.pth`` file adds the packages of the engine's
environment (the one that runs Airflow or Prefect), which pip considers outside and never changes.
``pip install -r FILE`` is done once per content of FILE, in a shared environment in the working
folder, and its files are linked into the environment of the job; a second FILE is installed on top
of the first. All other pip commands change only the environment of the job.

The job's Python runs this file as a script, so it imports only the standard library.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from typing import Any

SETTINGS = "sagebridge.json"
COMPLETE = "sagebridge-complete"
REAL_PIP = "SAGEBRIDGE_REAL_PIP"
"""Environment variable of a real pip, so that it is not replaced by this script again."""
HOOK = "_sagebridge_pip"
AWS_HOOK = "_sagebridge_aws"
ENDPOINT = "SAGEBRIDGE_AWS_ENDPOINT"
"""Environment variable of a job whose AWS calls are answered on this machine."""
PTH = "_sagebridge.pth"
_OURS = "_sagebridge*"

# Options of `pip install` that may precede or follow -r FILE when the result is shared.
_FLAGS = re.compile(
    r"-q+|-v+|-U|--(quiet|verbose|upgrade|pre|no-input|no-cache-dir|no-deps|prefer-binary|"
    r"disable-pip-version-check|no-warn-script-location|root-user-action=\w+)"
)
# Lines of a requirements file that mean the same in every folder.
_OPTION = re.compile(
    r"(-i|--(index-url|extra-index-url|trusted-host|only-binary|no-binary|pre|prefer-binary|"
    r"no-index|require-hashes))\b"
)
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[\w\s,.-]*\])?\s*\(?([<>=!~;].*)?")
_ARCHIVE = re.compile(r"\.(whl|zip|tar|tgz|tar\.\w+)$", re.IGNORECASE)


def create(folder: Path, shared: Path, more: Iterable[str] = ()) -> None:
    """Create the environment of a job in ``folder``; called in the engine's Python.

    Args:
        folder: the new environment.
        shared: the folder of the shared environments.
        more: folders to import from, before the engine's packages.
    """
    # More folders first: the environment may have another sagebridge than the one that runs.
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    packages = [path for path in (*more, *site.getsitepackages(), *user) if Path(path).is_dir()]
    settings = {"shared": str(shared), "packages": packages, "pip": "", "uv": "", "base": ""}
    if not find_spec("pip"):
        settings["pip"] = _bundled_pip()
        settings["uv"] = "" if settings["pip"] else shutil.which("uv") or ""
    _make(folder, settings)


def _bundled_pip() -> str:
    """The pip wheel that ensurepip would install, which also runs as it is; empty if none."""
    # Debian keeps the wheels in WHEEL_PKG_DIR (Lib/ensurepip/__init__.py).
    folders = [Path(os.__file__).parent / "ensurepip/_bundled"]
    folders += map(Path, filter(None, [sysconfig.get_config_var("WHEEL_PKG_DIR")]))
    return next((str(wheel) for folder in folders for wheel in folder.glob("pip-*.whl")), "")


def _make(folder: Path, settings: dict[str, Any]) -> None:
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (folder / SETTINGS).write_text(json.dumps(settings))
    packages = _packages(folder)
    # A plain line adds a folder and lets pip's isolated builds remove it again; addsitedir also
    # reads the .pth files in it (Lib/site.py).
    lines = [line for path in settings["packages"] for line in (path, _add(path))]
    lines += [str(_unpacked_pip(settings)), settings["pip"]] if settings["pip"] else []
    hook = f"'pip' in ' '.join(sys.orig_argv) and __import__({HOOK!r}).intercept()"
    lines.append(f"import sys; {hook}")
    lines.append(f"import os; {ENDPOINT!r} in os.environ and __import__({AWS_HOOK!r}).install()")
    (packages / PTH).write_text("\n".join(lines) + "\n")
    (packages / f"{HOOK}.py").symlink_to(Path(__file__).resolve())
    (packages / f"{AWS_HOOK}.py").symlink_to(Path(__file__).resolve().with_name("aws_hook.py"))
    for name in ("pip", "pip3", f"pip3.{sys.version_info.minor}"):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m pip "$@"\n')
        script.chmod(0o755)


def _add(path: str) -> str:
    return f"import site; site.addsitedir({path!r})"


def _packages(folder: Path) -> Path:
    """The site-packages of an environment."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def intercept() -> None:
    """Replace ``python -m pip`` by this script; called when the job's Python starts."""
    if REAL_PIP in os.environ:
        return
    words = sys.orig_argv[1:]
    match list(dropwhile(lambda word: word.startswith("-") and word[:2] != "-m", words)):
        case ["-m", "pip", *arguments] | ["-mpip", *arguments]:
            os.execv(sys.executable, [sys.executable, "-I", __file__, *arguments])  # noqa: S606


def main(arguments: Sequence[str]) -> int:
    """Run a pip command of a job. Returns its exit code."""
    folder = Path(sys.prefix)
    settings = json.loads((folder / SETTINGS).read_text())
    content = _shareable(folder, settings, arguments)
    if content is None:
        return _pip(folder, settings, arguments)
    shared = Path(settings["shared"], _key(content, settings))
    shared.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{shared}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / COMPLETE).exists():
            shutil.rmtree(shared, ignore_errors=True)
            _make(shared, settings)
            if settings["base"]:
                _link(Path(settings["base"]), shared)
            if code := _pip(shared, settings, arguments):
                shutil.rmtree(shared, ignore_errors=True)
                return code
            (shared / COMPLETE).touch()
        else:
            print(f"The requirements are already installed in {shared}", flush=True)
        _link(shared, folder)
    (folder / SETTINGS).write_text(json.dumps({**settings, "base": str(shared)}))
    return 0


def _pip(folder: Path, settings: dict[str, Any], arguments: Sequence[str]) -> int:
    """Run the real pip, or uv, on an environment."""
    variables = {**os.environ, REAL_PIP: "1", "VIRTUAL_ENV": str(folder)}
    variables.pop("PIP_PYTHON", None)
    command = [str(folder / "bin/python"), "-m", "pip", *arguments]
    if settings["pip"]:
        _unpack_pip(settings)
    elif uv := settings["uv"]:
        command = [uv, "pip", *arguments]
    elif not find_spec("pip"):
        print("ERROR: pip is not installed; install pip, python3-venv or uv", file=sys.stderr)
        return 1
    return subprocess.run(command, env=variables, check=False).returncode


def _unpacked_pip(settings: dict[str, Any]) -> Path:
    return Path(settings["shared"], Path(settings["pip"]).name.removesuffix(".whl"))


def _unpack_pip(settings: dict[str, Any]) -> None:
    """Unpack the bundled pip once: in a wheel its modules would be compiled at every start."""
    target = _unpacked_pip(settings)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as fresh:
        with zipfile.ZipFile(settings["pip"]) as wheel:
            wheel.extractall(Path(fresh, "pip"))
        with suppress(OSError):  # another job has done it
            Path(fresh, "pip").rename(target)


def _shareable(
    folder: Path, settings: Mapping[str, Any], arguments: Sequence[str]
) -> list[str] | None:
    """The command's options and requirements, if its result is the same for every job.

    ``settings["base"]`` is the shared environment that has been linked into this one.
    """
    if arguments[:1] != ["install"] or any(map(os.environ.get, _LOCAL_VARIABLES)):
        return None
    base = Path(settings["base"]) if settings["base"] else None
    if _installed(folder) != (_installed(base) if base else set()):
        return None
    words = list(arguments[1:])
    files = [i for i, word in enumerate(words) if word in {"-r", "--requirement"}]
    if len(files) != 1 or files[0] + 1 == len(words):
        return None
    del words[files[0]]
    file = words.pop(files[0])
    if not all(map(_FLAGS.fullmatch, words)):
        return None
    try:
        lines = list(_lines(Path(file).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return [*sorted(words), *lines] if all(map(_is_plain, lines)) else None


def _installed(folder: Path) -> set[str]:
    """The names in the site-packages of an environment, apart from sagebridge's files."""
    names = [entry.name for entry in _packages(folder).iterdir()]
    return set(names) - shutil.ignore_patterns(_OURS, "__pycache__")("", names)


_LOCAL_VARIABLES = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT")
"""Variables with which pip needs other files or installs elsewhere."""


def _lines(text: str) -> Iterator[str]:
    """The lines of a requirements file, joined at backslashes, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if content := " ".join(re.sub(r"(^|\s)#.*", "", line).split()):
            yield content


def _is_plain(line: str) -> bool:
    """Whether a line needs no other file and no environment variable."""
    if "${" in line:
        return False
    if line.startswith("-"):
        return bool(_OPTION.match(line)) and "file:" not in line
    requirement = re.sub(r" --hash[= ]\S+", "", line)
    return bool(_REQUIREMENT.fullmatch(requirement)) and not _ARCHIVE.search(requirement)


def _key(content: Sequence[str], settings: dict[str, Any]) -> str:
    """The hash of the requirements, the Python version and the engine's environment."""
    installed = [
        entry.name
        for path in settings["packages"]
        for entry in sorted(Path(path).iterdir())
        if entry.suffix in {".dist-info", ".egg-info", ".egg-link"}
    ]
    # PIP_PYTHON is the environment of the job, and so differs between jobs; a cache has no effect.
    names = [name for name in sorted(os.environ) if name.startswith("PIP_")]
    names = [name for name in names if name not in {"PIP_PYTHON", "PIP_CACHE_DIR"}]
    pip = {name: os.environ[name] for name in names}
    parts = [list(content), sys.version, settings["packages"], installed, pip, settings["base"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _link(source: Path, target: Path) -> None:
    """Put the files of a shared environment into the environment of a job, as hard links."""
    old, new = os.fsencode(source), os.fsencode(target)

    def link(path: str, copy: str) -> None:
        Path(copy).unlink(missing_ok=True)
        try:
            os.link(path, copy)
        except OSError:
            shutil.copy2(path, copy)

    skipped = shutil.ignore_patterns(_OURS)
    for entry in source.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name != "bin":
            copy = target / entry.name
            shutil.copytree(
                entry, copy, ignore=skipped, copy_function=link, symlinks=True, dirs_exist_ok=True
            )
    for script in (source / "bin").iterdir():
        copy = target / "bin" / script.name
        if not copy.exists():
            content = script.read_bytes()
            copy.write_bytes(content.replace(old, new) if content[:2] == b"#!" else content)
            shutil.copymode(script, copy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
