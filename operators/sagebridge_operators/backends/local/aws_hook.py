"""Runs when the Python of a job starts, if the local store answers the job's AWS calls.

The SageMaker SDK gives boto3 the address of STS at AWS (``sts_regional_endpoint`` in
sagemaker/utils.py, for ``Session().default_bucket()`` and ``get_execution_role()``), and an address
in the code takes precedence over AWS_ENDPOINT_URL. AWS does not know the keys of the job, so such
addresses are ignored.

It imports only the standard library, and little of it: every Python process of a job runs it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class _BotocoreFinder:
    """Changes ``botocore.session`` when it is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        del path, target
        if name != "botocore.session":
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load: Any = spec.loader.exec_module

            def load_and_change(module: Any) -> None:
                load(module)
                _ignore_aws_addresses(module.Session)

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Wait for botocore in this process."""
    sys.meta_path.insert(0, _BotocoreFinder())


def _ignore_aws_addresses(session: Any) -> None:
    create = session.create_client

    def create_client(self: Any, *arguments: Any, **options: Any) -> Any:
        from urllib.parse import urlsplit

        host = urlsplit(options.get("endpoint_url") or "").hostname or ""
        if host.endswith(_AWS) and not options.get("aws_access_key_id"):
            options["endpoint_url"] = None
        return create(self, *arguments, **options)

    session.create_client = create_client
