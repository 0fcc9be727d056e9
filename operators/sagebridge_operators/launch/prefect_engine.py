"""A private Prefect server: its own home and loopback port, removed when the command ends."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sagebridge.errors import ServiceError
from sagebridge_operators.launch.engine_apis import NO_ANSWER, PrefectApi
from sagebridge_operators.launch.engine_versions import version_of
from sagebridge_operators.launch.private_engine import PrivateEngine, environment_without

# -P keeps the current folder off sys.path, so that a file there cannot shadow a module.
PREFECT = (sys.executable, "-P", "-m", "prefect")
"""Prefect's command line, for processes that are added to a server."""
SERVER = (sys.executable, "-P", "-m", "sagebridge_operators.launch.prefect_server")

_DATABASE = "prefect.db"


class PrefectServer(PrivateEngine[PrefectApi]):
    """``with PrefectServer(folder / name) as server:`` serves UI and API at ``server.url``.

    Args:
        home: its home folder; only the logs are kept. An empty database is kept in the parent
            folder and copied, since creating one takes half of the start time.
        execution: the execution whose jobs are stopped if this process is killed.
        variables: environment variables for all its processes.
    """

    client = PrefectApi
    port_taken = "already in use"

    def __init__(
        self,
        home: Path,
        *,
        execution: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(home, execution)
        self._variables = dict(variables or {})
        self._template = self.home.parent / f"prefect-{version_of('prefect')}.db"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def login_hint(self) -> str:
        return f"password {self.login.pair}"  # Prefect's UI asks for the whole string

    def prepare(self) -> None:
        if self._template.exists():
            shutil.copyfile(self._template, self.home / _DATABASE)

    def commands(self, port: int) -> dict[str, tuple[str, ...]]:
        return {"server": (*SERVER, str(port))}

    def make_environment(self, port: int) -> dict[str, str]:
        """The environment, without your Prefect profile and settings."""
        origin = f"http://127.0.0.1:{port}"
        return {
            **environment_without("PREFECT_"),
            "DO_NOT_TRACK": "1",
            "PREFECT_API_AUTH_STRING": self.login.pair,
            "PREFECT_API_URL": f"{origin}/api",
            "PREFECT_CLI_COLORS": "false",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_HOME": str(self.home),
            # The default of Prefect 3.7 ignores PREFECT_HOME: it is ~/.prefect/storage
            # (prefect/settings/models/_defaults.py).
            "PREFECT_LOCAL_STORAGE_PATH": str(self.home / "storage"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": self.login.pair,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
            # The default in the UI is port 4200.
            "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # The default is inside site-packages, which may be read-only
            # (prefect/server/api/server.py: build_static_dir).
            "PREFECT_UI_STATIC_DIRECTORY": str(self.home / "ui"),
            **self._variables,
        }

    def is_ready(self) -> bool:
        try:
            with closing(PrefectApi(self.url, self.login, timeout=5)) as api:
                # Another process may have taken the port, even another Prefect.
                if api.home() != str(self.home):
                    return False
        except (*NO_ANSWER, ServiceError, LookupError, TypeError, ValueError):
            return False
        if not self._template.exists():
            self._keep_database()
        return True

    def _keep_database(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.home.parent, prefix=".template-") as folder:
            copy = Path(folder) / _DATABASE
            with (
                closing(sqlite3.connect(self.home / _DATABASE)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            copy.replace(self._template)
