"""The containers of a model, each in its own process, which answers requests."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from sagebridge_operators.backends.local import script_mode
from sagebridge_operators.backends.local.container import Exit
from sagebridge_operators.backends.local.container import run as run_container
from sagebridge_operators.backends.local.data_transfer import fetch_package, fetch_prefix
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.supervised_job import (
    Job,
    JobFailed,
    JobStopped,
    image_parts,
)

SERVING = "sagebridge_operators.backends.local.serving"
MODEL_CODE = "/opt/ml/model/code"


def containers_of(records: Records, name: str) -> list[dict[str, Any]]:
    """The container definitions of a model, with those of model packages.

    Raises:
        JobFailed: the model or its package does not exist or has no containers.
    """
    model = records.get("Model", name)
    if model is None:
        raise JobFailed(f"ClientError: the model {name!r} does not exist")
    found: list[dict[str, Any]] = []
    primary = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else []
    for container in [*primary, *model.get("Containers", [])]:
        if not (package := container.get("ModelPackageName")):
            found.append(dict(container))
            continue
        body = records.get("ModelPackage", package.rpartition("model-package/")[2]) or {}
        packaged = body.get("InferenceSpecification", {}).get("Containers", [])
        if not packaged:
            raise JobFailed(f"ClientError: model package {package} has 0 containers")
        found += [one | container for one in packaged]
    if not found:
        raise JobFailed(f"ClientError: model {name!r} has no containers")
    return found


def is_multi_model(definition: Mapping[str, Any]) -> bool:
    """Whether each request to a container names its model."""
    return definition.get("Mode") == "MultiModel"


class ModelContainer:
    """One container of a model. It runs until it is closed or its job is stopped.

    Args:
        job: where it runs, with its own /opt/ml.
        definition: the ContainerDefinition.
        variables: more environment variables.
        on_end: called when its process has ended.

    Raises:
        JobFailed: the model cannot be copied, or this machine cannot run it.
    """

    def __init__(
        self,
        job: Job,
        definition: Mapping[str, Any],
        variables: Mapping[str, str],
        on_end: Callable[[], object],
    ) -> None:
        self.job, self.definition, self._on_end = job, definition, on_end
        self.multi_model = is_multi_model(definition)
        self.end: Exit | None = None
        self._error: Exception | None = None
        self._turn, self._copying = Lock(), Lock()
        self._connection, theirs = Pipe()
        if not self.multi_model:
            self._fetch_model()
        variables = {**definition.get("Environment", {}), **variables}
        program, code = self._program(variables)
        command = ["python", "-m", SERVING, str(theirs.fileno()), program, code]
        if code:
            command = script_mode.with_requirements(job, f"/opt/ml/{code}", command)
        self._thread = Thread(target=self._run, args=(command, variables, theirs), daemon=True)
        self._thread.start()

    def _run(self, command: list[str], variables: dict[str, str], channel: Connection) -> None:
        try:
            with channel:
                self.end = run_container(self.job, command, variables, channel=channel)
        except Exception as error:  # noqa: BLE001 - failure() returns it
            self._error = error
        self._on_end()

    @property
    def has_ended(self) -> bool:
        return self.end is not None or self._error is not None

    def wait_until_ready(self) -> None:
        """Return once the model is loaded. Raises as :meth:`answer`."""
        try:
            self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self.failure() from None

    def answer(
        self, payload: bytes, content_type: str, accept: str, model: str = ""
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer; one request at a time.

        Raises:
            JobFailed: the container has ended, with the reason.
            JobStopped: the job was stopped.
        """
        request = {"content_type": content_type, "accept": accept, "model": model}
        with self._turn:
            try:
                self._connection.send_bytes(json.dumps(request).encode())
                self._connection.send_bytes(payload)
                answer = json.loads(self._connection.recv_bytes())
                return answer["status"], answer["content_type"], self._connection.recv_bytes()
            except (EOFError, OSError):
                raise self.failure() from None

    def target(self, name: str) -> str:
        """The folder in /opt/ml of the model ``name`` of several; it is copied on first use.

        Raises:
            JobFailed: there is no such model.
        """
        folder = f"models/{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        path = self.job.host_path(f"/opt/ml/{folder}")
        with self._copying:
            if not path.exists():
                uri = f"{self._data_uri().rstrip('/')}/{name.lstrip('/')}"
                if ".." in unquote(name).split("/"):  # a file:// URI is unquoted
                    raise JobFailed(f"ClientError: invalid target model {name!r}")
                try:
                    fetch_package(self.job, uri, path, "model data")
                except BaseException:
                    shutil.rmtree(path, ignore_errors=True)
                    raise
        return folder

    def failure(self) -> Exception:
        """Why the container has ended."""
        self._thread.join()
        if self.end is None:
            return self._error or JobStopped()
        if self.end.stopped:
            return JobStopped()
        return JobFailed(self.end.reason(self.job, self.job.message("failure")))

    def close(self) -> None:
        """End the process, after the request that it works on."""
        with self._turn:
            self._connection.close()
        self._thread.join()

    def _data_uri(self) -> str:
        source = self.definition.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = self.definition.get("ModelDataUrl") or source.get("S3Uri")
        if not uri:
            raise JobFailed(
                "ClientError: the model has no ModelDataUrl, which the local backend requires"
            )
        return str(uri)

    def _fetch_model(self) -> None:
        """Unpack the model's archive, or copy its files, to /opt/ml/model."""
        folder = self.job.host_path("/opt/ml/model")
        folder.mkdir(parents=True, exist_ok=True)
        uri = self._data_uri()
        source = self.definition.get("ModelDataSource", {}).get("S3DataSource", {})
        if source.get("CompressionType") == "None":
            fetch_prefix(self.job, "model", uri, folder)
        else:
            fetch_package(self.job, uri, folder, "model data")

    def _program(self, variables: Mapping[str, str]) -> tuple[str, str]:
        """The inference script and its folder in /opt/ml; both empty for built-in XGBoost.

        The folder is empty if each of several models has its own script.
        """
        if program := variables.get("SAGEMAKER_PROGRAM"):
            source = variables.get("SAGEMAKER_SUBMIT_DIRECTORY", MODEL_CODE)
            if self.multi_model and source.startswith("/opt/ml/model"):
                return program, ""
            code = script_mode.fetch_code(self.job, source)
            if not (self.job.host_path(code) / program).is_file():
                raise JobFailed(
                    f"ClientError: {source} does not contain the SAGEMAKER_PROGRAM {program}"
                )
            return program, code.removeprefix("/opt/ml/")
        image = str(self.definition.get("Image", ""))
        if "xgboost" in image_parts(image)[0]:
            return "", ""
        raise JobFailed(
            f"ClientError: the local backend cannot run the image {image or '(none)'}: a model "
            "needs an xgboost image or a script in the variable SAGEMAKER_PROGRAM"
        )


class ModelChain:
    """The containers of a model: the answer of each is the request of the next.

    Args:
        job: the job that the containers belong to.
        name: distinguishes the model from other models of the job.
        definitions: the ContainerDefinitions.
        variables: more environment variables of all containers.
        on_end: called when one of them has ended.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        definitions: Sequence[Mapping[str, Any]],
        variables: Mapping[str, str],
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.containers: list[ModelContainer] = []
        try:
            for number, definition in enumerate(definitions):
                part = job.container(f"{name}{number}")
                self.containers.append(ModelContainer(part, definition, variables, on_end))
        except BaseException:
            self.close()
            raise

    @property
    def multi_model(self) -> bool:
        return any(one.multi_model for one in self.containers)

    def wait_until_ready(self) -> None:
        """Return once all models are loaded. Raises as ModelContainer.answer."""
        for container in self.containers:
            container.wait_until_ready()

    def only(self, hostname: str) -> ModelChain:
        """The container with this ContainerHostname; a chain without containers if none has it."""
        chain = copy.copy(self)
        chain.containers = [
            one for one in self.containers if one.definition.get("ContainerHostname") == hostname
        ]
        return chain

    def fetch(self, model: str) -> None:
        """Copy one of several models, unless it is there. Raises JobFailed or StoreError."""
        for one in self.containers:
            if one.multi_model:
                one.target(model)

    def failure(self) -> Exception | None:
        """Why a container has ended; None while all of them run."""
        return next((one.failure() for one in self.containers if one.has_ended), None)

    def answer(
        self, payload: bytes, content_type: str, accept: str, model: str = ""
    ) -> tuple[int, str, bytes]:
        """The answer of the last container, or of the first one with an error.

        ``model`` is for containers with several models. Raises as ModelContainer.answer.
        """
        status = 200
        for number, one in enumerate(self.containers, 1):
            folder = one.target(model) if one.multi_model else ""
            wanted = accept if number == len(self.containers) else ""
            status, content_type, payload = one.answer(payload, content_type, wanted, folder)
            if status >= 400:
                break
        return status, content_type, payload

    def close(self) -> None:
        """End all containers."""
        for container in self.containers:
            container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
