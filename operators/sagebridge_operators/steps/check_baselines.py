"""What the check steps share: a processing job, its baselines, and the check for drift.

``SkipCheck`` and ``RegisterNewBaseline`` follow the table in "Baseline calculation, drift detection
and lifecycle with ClarifyCheck and QualityCheck steps" of the SageMaker guide. The job itself
carries what its check needs: the flags in its environment, and the prior baseline as inputs. Any
worker that finds the job checks the same, however often.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import BaselineMissing, CheckViolated, StepFailed
from sagebridge_operators.steps.job_type import JobType, Services, is_not_found
from sagebridge_operators.steps.processing import STEP as PROCESSING

FLAGS = "SAGEBRIDGE_CHECK"
"""The variable in the environment of a check's job that holds its Flags."""
_RESULTS = ("analysis_result", "quality_check_output")
"""The names that the SageMaker SDK gives to the output with the results."""
_LOCAL = "/opt/ml/processing/baseline"
Violation = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What a check step does after its job, from the keys next to ``Arguments``."""

    type: str
    skip: bool
    register: bool
    fail: bool

    @classmethod
    def of(cls, step: Step) -> Flags:
        """The flags of a step whose own keys are resolved. Raises StepFailed."""
        return cls(
            type=str(step.extra.get("CheckType")),
            skip=_flag(step, "SkipCheck", default=False),
            register=_flag(step, "RegisterNewBaseline", default=False),
            fail=_flag(step, "FailOnViolation", default=True),
        )

    @classmethod
    def of_job(cls, description: Mapping[str, Any]) -> Flags:
        return cls(**json.loads(description["Environment"][FLAGS]))

    def text(self) -> str:
        return json.dumps(
            {"type": self.type, "skip": self.skip, "register": self.register, "fail": self.fail}
        )


def _flag(step: Step, key: str, *, default: bool) -> bool:
    value = step.extra.get(key)
    match value:
        case None:
            return default
        case bool():
            return value
        case str() if value.lower() in ("true", "false"):  # a String parameter
            return value.lower() == "true"
    raise StepFailed(f"{key}: expected true or false, got {value!r}", kind="unresolvable")


def described(violation: Violation) -> str:
    """One violation, such as ``age: completeness_check (...)``."""
    names = ("feature_name", "facet", "facet_value", "label", "metric_name")
    subject = " ".join(str(violation[name]) for name in names if violation.get(name))
    kind, details = violation.get("constraint_check_type"), violation.get("description")
    words = [str(one) for one in (subject, kind) if one]
    return ": ".join(words) + (f" ({details})" if details else "")


def _outputs(description: Mapping[str, Any]) -> dict[str, Any]:
    """The URIs of the baselines, and the violations as text."""
    main = {
        "calculated_constraints": description.get("CalculatedBaselineConstraints"),
        "calculated_statistics": description.get("CalculatedBaselineStatistics"),
        "used_constraints": description.get("BaselineUsedForDriftCheckConstraints"),
        "used_statistics": description.get("BaselineUsedForDriftCheckStatistics"),
        "violations": [described(one) for one in description.get("Violations", ())],
    }
    return {name: value for name, value in main.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(JobType):
    """A check step. Its job is a processing job.

    Args:
        files: the files of a baseline: ``Constraints``, ``Statistics``, and their names in the
            output of the job.
        registered: for each ``CheckType``, the members of DriftCheckBaselines with these files.
    """

    more_calls: tuple[str, ...] = ("describe_model_package",)
    lists: tuple[str, ...] = ("list_model_packages",)
    s3_calls: tuple[str, ...] = ("GetObject",)
    reason_keys: tuple[str, ...] = PROCESSING.reason_keys
    takes_experiment: bool = True
    outputs: Callable[[Mapping[str, Any]], dict[str, Any]] = _outputs
    log_group: str | None = PROCESSING.log_group
    s3_inputs: str | None = PROCESSING.s3_inputs
    s3_outputs: str | None = PROCESSING.s3_outputs
    files: Mapping[str, str]
    registered: Mapping[str, Mapping[str, str]]

    def prepare(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, services: Services
    ) -> dict[str, Any]:
        """The arguments of the job, with the flags and the prior baseline."""
        flags = Flags.of(step)
        folder_of(arguments)  # fails before the job costs money
        prior = {} if flags.skip and flags.register else self._prior(step, flags, services)
        inputs = [
            {
                "InputName": _input_name(file),
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"{_LOCAL}/{file.lower()}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for file, uri in prior.items()
        ]
        environment = {**(arguments.get("Environment") or {}), FLAGS: flags.text()}
        if not flags.skip:
            environment |= self.baseline_variables(prior)
        return {
            **arguments,
            "Environment": environment,
            "ProcessingInputs": [*(arguments.get("ProcessingInputs") or ()), *inputs],
        }

    def baseline_variables(self, prior: Mapping[str, str]) -> dict[str, str]:
        """The variables that make a container compare its data with the prior baseline itself."""
        return {}

    def violations(
        self, flags: Flags, description: Mapping[str, Any], services: Services
    ) -> list[Violation]:
        """The violations of the prior baseline. Raises StepFailed if it cannot be compared."""
        raise NotImplementedError

    def properties(self, step: Step, description: Mapping[str, Any]) -> Mapping[str, Any]:
        """The description of a job with the baselines."""
        flags, prior = Flags.of_job(description), prior_baseline(description)
        calculated = {file: f"{folder_of(description)}/{name}" for file, name in self.files.items()}
        used = calculated if flags.register else prior
        return {
            **description,
            **{f"CalculatedBaseline{file}": uri for file, uri in calculated.items()},
            **{f"BaselineUsedForDriftCheck{file}": uri for file, uri in used.items()},
        }

    def judge(self, description: Mapping[str, Any], services: Services) -> Mapping[str, Any]:
        """Checks a completed job for drift. FailOnViolation decides if it raises CheckViolated."""
        flags = Flags.of_job(description)
        found = [] if flags.skip else self.violations(flags, description, services)
        if found and flags.fail:
            prior = prior_baseline(description)
            raise CheckViolated(flags.type, prior["Constraints"], [described(one) for one in found])
        return {**description, "Violations": found}

    def _prior(self, step: Step, flags: Flags, services: Services) -> dict[str, str]:
        """The prior baseline: the supplied files, otherwise those of the latest approved model."""
        supplied = {file: step.extra.get(f"SuppliedBaseline{file}") for file in self.files}
        found = {file: str(uri) for file, uri in supplied.items() if uri}
        group = step.extra.get("ModelPackageGroupName")
        if group and found.keys() != self.files.keys():
            members = self.registered.get(flags.type, {})
            found = {**_registered(services.client("sagemaker"), str(group), members), **found}
        if "Constraints" not in found:
            raise BaselineMissing(flags.type, str(group) if group else "")
        return {
            file: f"{uri}{self.files[file]}" if uri.endswith("/") else uri
            for file, uri in found.items()
        }


def _registered(client: Any, group: str, members: Mapping[str, str]) -> dict[str, str]:
    """The S3 URIs in the DriftCheckBaselines of the latest approved version in a group."""
    found: Any = _latest_approved(client, group).get("DriftCheckBaselines", {})
    uris = {}
    for file, path in members.items():
        one = found
        for key in path.split("."):
            one = one.get(key, {})
        if one.get("S3Uri"):
            uris[file] = str(one["S3Uri"])
    return uris


def _latest_approved(client: Any, group: str) -> Mapping[str, Any]:
    """The description of the latest approved version; empty if a group has none."""
    from botocore.exceptions import ClientError

    request = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "Approved",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
    }
    while True:
        try:
            page = client.list_model_packages(**request)
        except ClientError as error:
            if is_not_found(error):
                return {}
            raise refused(error, "ModelPackageGroupName") from None
        for one in page["ModelPackageSummaryList"]:
            arn = one["ModelPackageArn"]
            try:
                return dict(client.describe_model_package(ModelPackageName=arn))
            except ClientError as error:
                raise refused(error, "ModelPackageGroupName") from None
        if not page.get("NextToken"):
            return {}
        request["NextToken"] = page["NextToken"]


def refused(error: Any, key: str) -> Exception:
    """A StepFailed if a call for a key of the step is not allowed; other errors unchanged."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if not code.startswith("AccessDenied"):
        return cast("Exception", error)
    return StepFailed(f"{key}: {error}", kind="request", code=code)


def _input_name(file: str) -> str:
    return f"baseline_{file.lower()}"


def prior_baseline(description: Mapping[str, Any]) -> dict[str, str]:
    """The S3 URIs of the prior baseline in the inputs of a job: ``Constraints``, ``Statistics``."""
    inputs = {one["InputName"]: one for one in description.get("ProcessingInputs", ())}
    names = {file: _input_name(file) for file in ("Constraints", "Statistics")}
    return {
        file: str(inputs[name]["S3Input"]["S3Uri"])
        for file, name in names.items()
        if name in inputs
    }


def local_path(file: str, uri: str) -> str:
    """Where a container finds a file of the prior baseline."""
    return f"{_LOCAL}/{file.lower()}/{uri.rpartition('/')[2]}"


def folder_of(description: Mapping[str, Any]) -> str:
    """The S3 folder that a job writes its results to. Raises StepFailed without one."""
    found = (description.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    named = [one for one in found if one.get("OutputName") in _RESULTS] or found
    if len(named) != 1 or not (named[0].get("S3Output") or {}).get("S3Uri"):
        text = f"ProcessingOutputConfig: expected one output in S3 named {' or '.join(_RESULTS)}"
        raise StepFailed(text, kind="request")
    return str(named[0]["S3Output"]["S3Uri"]).rstrip("/")


def read_json(uri: str, services: Services) -> Mapping[str, Any]:
    """The JSON object at an S3 URI. Raises StepFailed if it is not one, StoreError without one."""
    try:
        document = json.loads(services.read_object(uri))
    except ValueError as error:
        raise StepFailed(f"{uri} is not JSON: {error}", kind="check") from None
    if not isinstance(document, Mapping):
        raise StepFailed(f"{uri}: expected a JSON object", kind="check")
    return document


def items(document: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    """The items of the object at a path; none if it does not exist."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        yield from found.items()
