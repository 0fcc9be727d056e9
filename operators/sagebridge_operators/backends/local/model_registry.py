"""The operations of the local SageMaker API on models and model packages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sagebridge.model.display import words
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.database import (
    AlreadyExists,
    NoSuchRecord,
    Records,
    Transaction,
)
from sagebridge_operators.backends.local.job_api import check_name
from sagebridge_operators.backends.local.listing import page

APPROVALS = ("Approved", "Rejected", "PendingManualApproval")
UPDATED = words(
    "ModelApprovalStatus ModelPackageRegistrationType ApprovalDescription "
    "InferenceSpecification SourceUri ModelCard ModelLifeCycle"
)


class Registry:
    """The local model registry; each method is one API operation."""

    def __init__(self, region: str, records: Records) -> None:
        self.region, self.records = region, records

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API operations on models and model packages, by name."""
        calls = (
            self.create_model,
            self.describe_model,
            self.delete_model,
            self.list_models,
            self.create_model_package_group,
            self.describe_model_package_group,
            self.list_model_package_groups,
            self.create_model_package,
            self.describe_model_package,
            self.update_model_package,
            self.list_model_packages,
        )
        return {call.__name__.title().replace("_", ""): call for call in calls}

    def create_model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = check_name("ModelName", request["ModelName"])
        if not request.get("PrimaryContainer") and not request.get("Containers"):
            raise _invalid("Model needs a PrimaryContainer or Containers.")
        model_arn = arn(self.region, f"model/{name}")
        body = {
            "EnableNetworkIsolation": False,
            **_without(request, "Tags"),
            "ModelArn": model_arn,
            "CreationTime": time.time(),
        }
        try:
            self.records.insert("Model", name, body)
        except AlreadyExists:
            raise _invalid(f'Cannot create already existing model "{model_arn}".') from None
        return {"ModelArn": model_arn}

    def describe_model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return _found(self.records.get("Model", request["ModelName"]), self._no_model(request))

    def delete_model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self.records.delete("Model", request["ModelName"])
        except NoSuchRecord:
            raise self._no_model(request) from None
        return {}

    def list_models(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return page(
            self.records.list("Model"),
            request,
            fields=("ModelName", "ModelArn", "CreationTime"),
            into="Models",
            name="ModelName",
            descending=True,
        )

    def create_model_package_group(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = check_name("ModelPackageGroupName", request["ModelPackageGroupName"])
        group_arn = self._group_arn(name)
        body = {
            **_without(request, "Tags"),
            "ModelPackageGroupArn": group_arn,
            "CreationTime": time.time(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        }
        try:
            self.records.insert("ModelPackageGroup", name, body)
        except AlreadyExists:
            raise _invalid(f"Model Package Group already exists: {group_arn}") from None
        return {"ModelPackageGroupArn": group_arn}

    def describe_model_package_group(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = _last_part(request["ModelPackageGroupName"])
        return _found(self.records.get("ModelPackageGroup", name), self._no_group(name))

    def list_model_package_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return page(
            self.records.list("ModelPackageGroup"),
            request,
            fields=words(
                "ModelPackageGroupName ModelPackageGroupArn ModelPackageGroupDescription "
                "ModelPackageGroupStatus CreationTime"
            ),
            into="ModelPackageGroupSummaryList",
            name="ModelPackageGroupName",
        )

    def create_model_package(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Create a version in a group, or an unversioned package; idempotent by ClientToken."""
        _check_approval(request)
        if ("ModelPackageName" in request) == ("ModelPackageGroupName" in request):
            raise _invalid("Give either ModelPackageName or ModelPackageGroupName.")
        token = request.get("ClientToken")
        with self.records.transaction() as transaction:
            earlier = transaction.get("ClientToken", token) if token else None
            if earlier is not None:
                return earlier
            name, body = self._new_package(transaction, request)
            package_arn = arn(self.region, f"model-package/{name}")
            body |= {
                "ModelPackageArn": package_arn,
                "CreationTime": time.time(),
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            }
            try:
                transaction.insert("ModelPackage", name, body)
            except AlreadyExists:
                raise _invalid(f"Model Package already exists: {package_arn}") from None
            if token:
                transaction.insert("ClientToken", token, {"ModelPackageArn": package_arn})
        return {"ModelPackageArn": package_arn}

    def describe_model_package(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = _package_name(request["ModelPackageName"])
        return _found(self.records.get("ModelPackage", name), self._no_package(name))

    def update_model_package(self, request: Mapping[str, Any]) -> dict[str, Any]:
        _check_approval(request)
        name = _package_name(request["ModelPackageArn"])

        def change(body: dict[str, Any]) -> None:
            body.update({field: request[field] for field in UPDATED if field in request})
            own = {
                **body.get("CustomerMetadataProperties", {}),
                **request.get("CustomerMetadataProperties", {}),
            }
            for key in request.get("CustomerMetadataPropertiesToRemove", ()):
                own.pop(key, None)
            if own or "CustomerMetadataProperties" in body:
                body["CustomerMetadataProperties"] = own
            if added := request.get("AdditionalInferenceSpecificationsToAdd"):
                body.setdefault("AdditionalInferenceSpecifications", []).extend(added)
            body["LastModifiedTime"] = time.time()

        try:
            body = self.records.update("ModelPackage", name, change)
        except NoSuchRecord:
            raise self._no_package(name) from None
        return {"ModelPackageArn": body["ModelPackageArn"]}

    def list_model_packages(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The versions of a group, or all packages of the requested ModelPackageType."""
        group = request.get("ModelPackageGroupName")
        if group is not None:
            self.describe_model_package_group({"ModelPackageGroupName": group})
            found = self.records.list("ModelPackage", f"{_last_part(group)}/")
        else:
            kind = request.get("ModelPackageType", "Unversioned")
            found = [
                body
                for body in self.records.list("ModelPackage")
                if kind in ("Both", "Versioned" if "ModelPackageVersion" in body else "Unversioned")
            ]
        approval = request.get("ModelApprovalStatus")
        return page(
            [body for body in found if approval in (None, body.get("ModelApprovalStatus"))],
            request,
            fields=words(
                "ModelPackageName ModelPackageGroupName ModelPackageVersion "
                "ModelPackageArn ModelPackageDescription CreationTime ModelPackageStatus "
                "ModelApprovalStatus"
            ),
            into="ModelPackageSummaryList",
            name="ModelPackageName",
        )

    def _new_package(
        self, transaction: Transaction, request: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        body = _without(request, "Tags", "ClientToken")
        if "ModelPackageName" in request:
            return check_name("ModelPackageName", request["ModelPackageName"]), body
        group = _last_part(request["ModelPackageGroupName"])
        _found(transaction.get("ModelPackageGroup", group), self._no_group(group))
        versions = transaction.list("ModelPackage", f"{group}/")
        version = 1 + max((int(other["ModelPackageVersion"]) for other in versions), default=0)
        return f"{group}/{version}", {
            "ModelApprovalStatus": "PendingManualApproval",
            **body,
            "ModelPackageName": group,
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
        }

    def _group_arn(self, name: str) -> str:
        return arn(self.region, f"model-package-group/{name}")

    def _no_model(self, request: Mapping[str, Any]) -> ApiError:
        model_arn = arn(self.region, f"model/{request['ModelName']}")
        return _invalid(f'Could not find model "{model_arn}".')

    def _no_group(self, name: str) -> ApiError:
        return _invalid(f"ModelPackageGroup {self._group_arn(name)} does not exist.")

    def _no_package(self, name: str) -> ApiError:
        package_arn = arn(self.region, f"model-package/{name}")
        return _invalid(f"ModelPackage {package_arn} does not exist.")


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def _found(body: dict[str, Any] | None, error: ApiError) -> dict[str, Any]:
    if body is None:
        raise error
    return body


def _without(request: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    return {field: value for field, value in request.items() if field not in fields}


def _last_part(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


def _package_name(name_or_arn: str) -> str:
    return name_or_arn.rpartition(":model-package/")[2]


def _check_approval(request: Mapping[str, Any]) -> None:
    approval = request.get("ModelApprovalStatus", APPROVALS[0])
    if approval not in APPROVALS:
        raise _invalid(
            f"1 validation error detected: Value '{approval}' at 'modelApprovalStatus' failed to "
            f"satisfy constraint: Member must satisfy enum value set: [{', '.join(APPROVALS)}]"
        )
