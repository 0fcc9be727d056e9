"""The rules for definitions, from the SageMaker Pipelines guide: one module per subject.

A rule takes the whole :class:`~.definition.Definition` and yields every problem it finds. The
definition may have any fault: a rule does not rely on the other rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sagebridge.formats.sagemaker.rules.condition_rules import check_conditions
from sagebridge.formats.sagemaker.rules.definition import Definition, Problem
from sagebridge.formats.sagemaker.rules.dependency_rules import check_dependencies
from sagebridge.formats.sagemaker.rules.envelope_rules import check_envelope, check_parameters
from sagebridge.formats.sagemaker.rules.expression_rules import check_expressions
from sagebridge.formats.sagemaker.rules.for_each_rules import check_for_each
from sagebridge.formats.sagemaker.rules.policy_rules import check_caches, check_retries
from sagebridge.formats.sagemaker.rules.reference_rules import check_documents, check_references
from sagebridge.formats.sagemaker.rules.request_rules import check_requests
from sagebridge.formats.sagemaker.rules.shape_rules import check_request_shapes
from sagebridge.formats.sagemaker.rules.step_rules import check_steps

RULES: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    check_envelope,
    check_parameters,
    check_steps,
    check_requests,
    check_request_shapes,
    check_documents,
    check_retries,
    check_caches,
    check_conditions,
    check_for_each,
    check_expressions,
    check_references,
    check_dependencies,
)
