"""Print the names of the newest SageMaker SDK and botocore that sagebridge does not know.

``make news`` installs the newest releases of the packages in ``PACKAGES`` into a temporary folder,
without their dependencies, and deletes it afterwards. The files are read, never imported. It prints
each unknown name and the versions that are newer than the pinned ones, and exits with 1 if a name
is unknown. ``tests/sagemaker/test_names.py`` does the same for the pinned SDK.
"""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sagebridge.model.conditions import CONDITION_TYPES
from sagebridge.model.dependencies import TRIGGERS
from sagebridge.model.expressions import FUNCTIONS, VARIABLES
from sagebridge.model.parameters import PARAMETER_TYPES
from sagebridge.model.step_types import EXCEPTION_TYPES, STEP_TYPES, UNPUBLISHED, StepType
from tools.bootstrap import CHECKOUT, environment, find_uv

PACKAGES = (
    "apache-airflow",
    "apache-airflow-providers-amazon",
    "boto3",
    "botocore",
    "prefect",
    "prefect-aws",
    "sagemaker",
    "sagemaker-core",
    "sagemaker-mlops",
)
_ENUMS = {
    "StepTypeEnum": "step type",
    "TriggerCondition": "trigger",
    "ConditionTypeEnum": "condition",
    "ParameterTypeEnum": "parameter type",
    "StepExceptionTypeEnum": "exception type",
    "SageMakerJobExceptionTypeEnum": "exception type",
    "ExecutionVariables": "execution variable",
}
"""The classes of the SDK whose attributes are names of the definition format."""
METADATA = "metadata member"
Names = Mapping[str, frozenset[str]]


def known(types: Mapping[str, StepType] = STEP_TYPES) -> Names:
    """The names that sagebridge knows, by their kind, with ``types`` as the step types."""
    names: dict[str, tuple[str, ...]] = {
        "step type": tuple(types),
        METADATA: (*(row.metadata for row in types.values()), *UNPUBLISHED),
        "trigger": TRIGGERS,
        "condition": CONDITION_TYPES,
        "function": FUNCTIONS,
        "execution variable": VARIABLES["Execution"],
        "parameter type": PARAMETER_TYPES,
        "exception type": EXCEPTION_TYPES,
    }
    return {kind: frozenset(values) for kind, values in names.items()}


def unknown(found: Names, ours: Names) -> list[str]:
    """The names that ``ours`` lacks, such as ``step type ForEach``."""
    return [
        f"{kind} {name}" for kind in found for name in sorted(found[kind] - ours.get(kind, set()))
    ]


def read_names(packages: Path) -> Names:
    """The names in the SageMaker SDK and in botocore's service model, by their kind.

    ``packages`` is the folder that these packages are installed in.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for folder in ("core", "mlops"):
        for file in sorted((packages / "sagemaker" / folder / "workflow").glob("*.py")):
            for kind, name in _names(ast.parse(file.read_text("utf-8"))):
                found[kind].add(name)
    metadata = _service_model(packages)["shapes"]["PipelineExecutionStepMetadata"]
    found[METADATA].update(metadata["members"])
    return {kind: frozenset(values) for kind, values in found.items()}


def _names(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        match node:
            case ast.ClassDef(name=name) if name in _ENUMS:
                for statement in node.body:
                    match statement:
                        case (
                            ast.Assign(value=ast.Constant(str(value)))
                            | ast.Assign(value=ast.Call(args=[ast.Constant(str(value)), *_]))
                        ):
                            yield _ENUMS[name], value
            case ast.Constant(str(value)) if value.startswith("Std:") and value.isascii():
                yield "function", value


def _service_model(packages: Path) -> Any:
    (file,) = packages.glob("botocore/data/sagemaker/*/service-2.json.gz")
    return json.loads(gzip.decompress(file.read_bytes()))


def read_versions(packages: Path) -> dict[str, str]:
    """The versions of ``PACKAGES`` in a folder, from the names of their metadata folders."""
    folders = (path.name.removesuffix(".dist-info") for path in packages.glob("*.dist-info"))
    versions = (folder.rpartition("-") for folder in folders)
    found = {name.replace("_", "-"): version for name, _, version in versions}
    return {name: found[name] for name in PACKAGES if name in found}


def pinned_versions() -> dict[str, str]:
    """The newest version of each of ``PACKAGES`` in ``requirements/``."""
    pins: dict[str, str] = {}
    for file in sorted((CHECKOUT / "requirements").glob("*.txt")):
        for line in file.read_text().splitlines():
            name, _, version = line.partition("==")
            if name in PACKAGES:
                version = version.partition(" ")[0]
                pins[name] = max(pins.get(name, ""), version, key=_numbers)
    return pins


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def main() -> int:
    with TemporaryDirectory(prefix="sagebridge-news-") as folder:
        packages = Path(folder)
        venvs = (CHECKOUT / ".venvs").resolve()
        install = [find_uv(venvs, None), "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        where = ["--python", sys.executable, "--target", folder]
        command = [*install, *where, *PACKAGES]
        if subprocess.run(command, check=False, env=environment(venvs)).returncode:
            print("news: cannot install the newest releases; see above", file=sys.stderr)
            return 2
        newest, pinned = read_versions(packages), pinned_versions()
        news = unknown(read_names(packages), known())
    for name, version in newest.items():
        new = "" if version == pinned.get(name) else f"  (pinned: {pinned.get(name, 'none')})"
        print(f"{name} {version}{new}")
    print(*(f"unknown {name}" for name in news) if news else ("every name is known",), sep="\n")
    return 1 if news else 0


if __name__ == "__main__":
    sys.exit(main())
