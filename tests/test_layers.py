"""Imports that import-linter cannot see: modules that are loaded by name at run time.

`lint-imports` checks import statements against `layers.toml`. Modules loaded by name, by an entry
point or by ``python -m`` are listed here, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
LOADERS = frozenset(
    (
        "__import__",
        "entry_points",
        "find_spec",
        "import_module",
        "run_module",
        "run_path",
    )
)

ALLOWED = {
    # Parsing a DAG file needs none of these names.
    ("sagebridge", "import_module(f'{__name__}.{_LAZY[name]}')"),
    # The registry loads a format on first use; the names in it are checked below.
    ("sagebridge.registry", "import_module(module)"),
    # The command line loads one command. Commands that run steps are entry points, so that
    # sagebridge does not import sagebridge_operators.
    ("sagebridge.cli.app", "import_module(module)"),
    ("sagebridge.cli.app", "entry_points(group=GROUP)"),
    ("sagebridge.cli.app", "entry_points(group=GROUP, name=cmd_name)"),
    # A source `module:attribute` or `file.py:attribute` is user code.
    ("sagebridge.formats.sagemaker.python_source", "importlib.import_module(module)"),
    ("sagebridge.formats.sagemaker.python_source", "importlib.import_module(name)"),
    # Modules of Prefect that a traced flow calls.
    ("sagebridge.formats.prefect.prefect_answers", "import_module(module)"),
    (
        "sagebridge.formats.prefect.prefect_answers",
        "import_module(f'prefect.runtime.{part}')",
    ),
    # DAG and flow files are imported in a subprocess.
    ("sagebridge.formats.python.import_caller", "-m self.module"),
    # Most DAG files import the operators; an entry point loads them once for all files.
    ("sagebridge.formats.airflow.import_dags", "entry_points(group=_PRELOAD, name='airflow')"),
    # What an old DAG file imports, in the import process.
    ("sagebridge.formats.airflow.old_files", "import_module('airflow.utils.dates')"),
    ("sagebridge.formats.airflow.old_files", "import_module(f'{module}.{name}')"),
    ("sagebridge.formats.airflow.old_files", "import_module(module)"),
    ("sagebridge.formats.python.module_effects", "find_spec(package)"),
    # Few DAG files use these names of the package.
    ("sagebridge_operators.airflow", "import_module(f'{__name__}.{_LAZY[name]}')"),
    # Names of Airflow that are in other modules in other versions.
    ("sagebridge_operators.airflow._compat", "import_module(module)"),
    ("sagebridge_operators.airflow._compat", "import_module(modules[-1])"),
    (
        "sagebridge_operators.airflow._compat",
        "import_module('airflow.utils.dag_cycle_tester')",
    ),
    # Airflow imports triggers in its event loop, so the rest is imported in a thread.
    ("sagebridge_operators.airflow.deferral.trigger", "import_module(_POLLER)"),
    # Each step type is a module, found by its row in the table or in its package.
    ("sagebridge_operators.steps", "import_module(f'{__name__}.{module.name}')"),
    (
        "sagebridge_operators.backends.local.local_job_type",
        "import_module(f'{__package__}.{_MODULES[kind]}')",
    ),
    # Processes that outlive their caller run the module that starts them.
    ("sagebridge_operators.backends.local.supervisor", "-m __name__"),
    ("sagebridge_operators.launch.process_keeper", "-m __name__"),
    # A job's process imports these in its own environment.
    ("sagebridge_operators.backends.local.training_job", "-m XGBOOST"),
    ("sagebridge_operators.backends.local.model_container", "-m SERVING"),
    ("sagebridge_operators.backends.local.processing_job", "-m f'{__package__}.checks.{program}'"),
    # The preprocess_handler and postprocess_handler of a check, as in the image of AWS.
    ("sagebridge_operators.backends.local.checks.dataset", "runpy.run_path(script)"),
    # The Python of a new environment for a user's function.
    ("sagebridge_operators.functions.environments", "-m 'pip'"),
    ("sagebridge_operators.functions.environments", "-m 'venv'"),
    ("sagebridge_operators.backends.local.job_environment", "-m 'pip'"),
    # The pip of a job is the engine's, or the one of ensurepip.
    ("sagebridge_operators.backends.local.job_environment", "find_spec('pip')"),
    # The botocore that the script of a job imports, in the Python of the job.
    ("sagebridge_operators.backends.local.aws_hook", "importlib.util.find_spec(name)"),
    # The module of a Lambda function, in the process of the function.
    (
        "sagebridge_operators.backends.local.lambda_runtime",
        "importlib.import_module('.'.join(names))",
    ),
    # Engines, started as documented.
    ("sagebridge_operators.launch.airflow_home", "-m 'airflow'"),
    ("sagebridge_operators.launch.prefect_engine", "-m 'prefect'"),
    (
        "sagebridge_operators.launch.prefect_engine",
        "-m 'sagebridge_operators.launch.prefect_server'",
    ),
    ("sagebridge_operators.launch.prefect_execution", "-m 'prefect.engine'"),
    # Whether an extra is installed.
    ("sagebridge.errors", "find_spec(other)"),
    ("sagebridge.model.local_rejections", "find_spec('optuna')"),
    ("sagebridge_operators.launch.workdir", "find_spec('boto3')"),
}
"""The module, and the call or the argument of ``python -m``."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for root in (CHECKOUT / "adapters", CHECKOUT / "operators"):
        for path in sorted(root.rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(path.read_bytes())


def loads(tree: ast.Module) -> Iterator[str]:
    """The calls that load a module by name, and the arguments of ``python -m``."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in LOADERS:
                yield ast.unparse(node)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                flags = [isinstance(one, ast.Constant) and one.value == "-m" for one in items]
                yield from (
                    f"-m {ast.unparse(after)}"
                    for flag, after in zip(flags, items[1:], strict=False)
                    if flag
                )


def test_imports_by_name_are_listed() -> None:
    assert {(name, load) for name, tree in modules() for load in loads(tree)} == ALLOWED


def test_modules_named_by_registry_and_command_line_exist() -> None:
    trees = dict(modules())
    for holder in ("sagebridge.registry", "sagebridge.cli.app"):
        texts = [
            node.value
            for node in ast.walk(trees[holder])
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        named = {text.partition(":")[0] for text in texts if text.startswith("sagebridge.")}
        assert named - {"sagebridge.commands"} <= trees.keys()  # a group of entry points
        assert not any("sagebridge_operators" in name for name in named)
