"""Files next to a Python file that its carried code needs: modules, and files by ``__file__``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sagebridge.model.code_steps import PythonStep
from sagebridge.model.functions import Function
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline, walk


def nearby_losses(file: str, line: int, pipeline: Pipeline) -> Iterator[Loss]:
    """One loss for each module, and one for ``__file__``: only the code itself is carried.

    ``line`` is the line of the DAG or flow.
    """
    folder = Path(file).resolve().parent
    needed = dict.fromkeys(
        name for one in _functions(pipeline) for name in _needed(one.module or one.code)
    )
    for name in needed:
        if name == "__file__":
            what = "the code reads files by their place next to __file__, which are not carried"
            advice = "put the translated file next to them, or copy them"
        elif any(_is_module(place / name) for place in (folder, folder.parent)):
            what = f"the code imports your module {name}, which is not carried"
            advice = "put the module where the translated file can import it"
        else:
            continue
        yield Loss("nearby-file", "changed", f"{file}:{line}", what, "", advice)


def _functions(pipeline: Pipeline) -> Iterator[Function]:
    settings = [pipeline.engine]
    for step in walk(pipeline):
        settings.append(step.engine)
        if isinstance(step, PythonStep):
            yield step.function
    yield from (hook.function for one in settings for hook in one.hooks)


def _needed(text: str) -> Iterator[str]:
    """The packages that code imports, and ``__file__`` if it reads that."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (one.name.partition(".")[0] for one in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Name(id="__file__"):
                yield node.id


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or any(path.glob("*.py"))
