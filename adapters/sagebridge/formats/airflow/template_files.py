"""Template files of tasks, such as ``sql="orders.sql"``: Airflow renders the text of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sagebridge.formats.airflow.task_facts import is_mapped, is_sagebridge
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown


def read_template_files(task: Any) -> Iterator[Unsupported]:
    """Replace the names of template files in a task by their contents. Yields the missing ones.

    As in Airflow, a file is searched in the folder of the DAG and in its ``template_searchpath``.
    """
    from jinja2 import TemplateError

    missing: list[str] = []

    def text_of(name: str) -> str:
        environment = task.dag.get_template_env()
        try:
            return str(environment.loader.get_source(environment, name)[0])
        except (TemplateError, OSError):
            missing.append(name)
            return name

    if is_mapped(task) or is_sagebridge(task):
        return
    endings = tuple(task.template_ext)
    # An operator keeps its call only in this private attribute, which custom operators are read
    # from: airflow/sdk/bases/operator.py, BaseOperatorMeta.
    given = getattr(task, "_BaseOperator__init_kwargs", {})
    for field in task.template_fields if endings else ():
        value = getattr(task, field, None)
        if (changed := _changed(value, endings, text_of)) != value:
            setattr(task, field, changed)
            given.update({field: changed} if given.get(field) == value else {})
    for name in missing:
        what = f"its template file {shown(name)} is missing, so its step gets the name"
        advice = "put the file next to the DAG, or into its template_searchpath"
        yield Unsupported("template", "changed", what, advice)


def _changed(value: Any, endings: tuple[str, ...], text_of: Callable[[str], str]) -> Any:
    match value:
        case str() if value.endswith(endings):
            return text_of(value)
        case list() | tuple() if type(value) in (list, tuple):
            return type(value)(_changed(one, endings, text_of) for one in value)
        case dict():
            return {name: _changed(one, endings, text_of) for name, one in value.items()}
    return value
