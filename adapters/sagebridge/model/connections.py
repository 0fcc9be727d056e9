"""How steps connect to AWS: the region, the account, the settings of its client, and who waits.

``Pipeline.connections`` has the arguments of each step that are not default. They exist only in
DAG and flow files: SageMaker runs all steps in the account and region of the pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from sagebridge.model.code_steps import AwsCallStep, CarriedStep
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.pointers import step_pointers
from sagebridge.model.values import EMPTY, Object, Value, same, thaw

CONNECTION_ID: Final = "aws_conn_id"
CREDENTIALS: Final = "aws_credentials"
REGION: Final = "region_name"
DEFERRABLE: Final = "deferrable"
AIRFLOW_DEFAULTS: Mapping[str, Value] = MappingProxyType(
    {
        CONNECTION_ID: "aws_default",
        REGION: None,
        "verify": None,
        "botocore_config": None,
        DEFERRABLE: None,
    }
)
"""The arguments of Airflow operators that connect to AWS, with their defaults."""
PREFECT_ARGUMENTS = (CREDENTIALS, REGION)
"""The arguments of flow functions that connect to AWS; their default is None."""

_DEFAULT_CREDENTIALS = Object({CONNECTION_ID: None})
"""The credentials of the machine that the step runs on, as without a connection."""


def connects(step: Step) -> bool:
    """Whether a step calls AWS."""
    if isinstance(step, AwsCallStep):
        return True
    return step.type != "Fail" and not isinstance(step, ConditionStep | CarriedStep)


def shared_connection(pipeline: Pipeline) -> Object:
    """The connection of a pipeline whose steps all have the same; otherwise empty."""
    found = [pipeline.connections.get(one.name, EMPTY) for one in walk(pipeline) if connects(one)]
    every_same = bool(found) and all(same(one, found[0]) for one in found)
    return found[0] if every_same else EMPTY


def own_connections(pipeline: Pipeline) -> Mapping[str, Object]:
    """The connections by step; none if the steps share one."""
    if shared_connection(pipeline):
        return EMPTY
    steps = (step.name for step in walk(pipeline) if connects(step))
    return {name: pipeline.connections[name] for name in steps if name in pipeline.connections}


def for_airflow(connection: Mapping[str, Value]) -> dict[str, Value]:
    """The arguments of an operator; the name of an AwsCredentials block is its connection id."""
    found = dict(connection)
    if (block := found.pop(CREDENTIALS, None)) is not None:
        found.setdefault(CONNECTION_ID, block)
    return {name: found[name] for name in AIRFLOW_DEFAULTS if name in found}


def for_prefect(connection: Mapping[str, Value]) -> dict[str, Value]:
    """The arguments of a flow function; a connection id is the name of an AwsCredentials block."""
    found = dict(connection)
    if isinstance(connection_id := found.get(CONNECTION_ID), str):
        found.setdefault(CREDENTIALS, block_name(connection_id))
    return {name: found[name] for name in PREFECT_ARGUMENTS if name in found}


def block_name(connection_id: str) -> str:
    """A connection id as a block name, which has lowercase letters, digits and dashes."""
    # The rule is raise_on_name_alphanumeric_dashes_only in prefect/_internal/schemas/validators.py.
    return re.sub(r"[^a-z0-9]+", "-", connection_id.lower()).strip("-") or "aws"


def connection_losses(pipeline: Pipeline, target: str) -> Iterator[tuple[str, Loss]]:
    """The losses of writing connections, each with the name of the first step that has it.

    ``target`` is ``airflow``, ``prefect`` or ``sagemaker``.
    """
    # Where a step waits for its job has no effect on the job: nothing is lost.
    connections = {name: one.without(DEFERRABLE) for name, one in pipeline.connections.items()}
    pipeline = replace(pipeline, connections=Object(connections))
    found = {"airflow": _in_airflow, "prefect": _in_prefect, "sagemaker": _in_sagemaker}[target]
    shared = bool(shared_connection(pipeline))
    for connection, steps in _groups(pipeline):
        pointer, first = steps[0]
        for what, advice in found(connection, shared):
            text = f"{_connecting([name for _, name in steps])} with {what}"
            yield first, Loss("aws-connection", "changed", pointer, text, target, advice)


_What: TypeAlias = "tuple[str, str]"
"""What follows ``step 'a' connects with`` in a loss, and its advice."""


def _in_sagemaker(connection: Object, shared: bool) -> Iterator[_What]:
    if same(connection, _DEFAULT_CREDENTIALS):
        return
    what = "in SageMaker all steps run in the account and region of the pipeline"
    advice = "create the pipeline in that account and region"
    other = (
        "" if shared else ", and move the steps of other accounts and regions to other pipelines"
    )
    yield f"{_listed(connection)}; {what}", f"{advice}{other}"


def _in_airflow(connection: Object, shared: bool) -> Iterator[_What]:
    if (block := connection.get(CREDENTIALS)) is not None:
        what = f"the AwsCredentials block {shown(block)}; it becomes the connection id"
        yield what, "create an Airflow connection with this id for the same account"


def _in_prefect(connection: Object, shared: bool) -> Iterator[_What]:
    block = for_prefect(connection).get(CREDENTIALS)
    if block is not None and CREDENTIALS not in connection:
        own = Object({CONNECTION_ID: connection[CONNECTION_ID]})
        what = f"{_listed(own)}; it becomes the AwsCredentials block {shown(block)}"
        yield what, "create this block for the same account"
    unknown = connection.without(CONNECTION_ID, *PREFECT_ARGUMENTS)
    if unknown:
        what = f"{_listed(unknown)}, which flow functions do not have"
        yield what, "set them in aws_client_parameters of an AwsCredentials block"


def _groups(pipeline: Pipeline) -> Iterator[tuple[Object, list[tuple[str, str]]]]:
    """Each connection with the steps that have it, as (JSON pointer, name)."""
    groups: dict[Object, list[tuple[str, str]]] = {}
    for pointer, step in step_pointers(pipeline.steps):
        if connects(step) and (connection := pipeline.connections.get(step.name)):
            groups.setdefault(connection, []).append((pointer, step.name))
    yield from groups.items()


def _connecting(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"step {shown(names[0])} connects"
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"steps {', '.join(map(shown, names[:5]))}{rest} connect"


def _listed(connection: Object) -> str:
    return ", ".join(f"{name}={shown(thaw(value))}" for name, value in connection.items())
