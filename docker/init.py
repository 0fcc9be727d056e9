"""Set up a stack before its first start: ``init.py airflow FOLDER...`` or ``init.py prefect ...``.

Generates the stack's secrets, one file with mode 0600 each, and copies the example's objects into
the store. Existing files are kept. Each FOLDER is a volume, so that a service can mount only the
secrets that it needs.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from sagebridge_operators.backends import base, home
from sagebridge_operators.backends.local.store import FolderStore

ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone"
BUCKET = "s3://sagebridge-abalone"


def secret(path: Path, content: str) -> str:
    """Return the secret in a file; if the file is missing, create it with ``content``."""
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).rename(path)
    return path.read_text()


def password() -> str:
    return secrets.token_urlsafe(24)


def airflow(web: Path, tokens: Path, fernet: Path, client: Path, database: Path) -> Path:
    """Create the secrets of Airflow and PostgreSQL; return the file with the login.

    Args:
        web: login, passwords of the auth manager and key of the API, for the API server.
        tokens: key of the tokens of tasks, for the API server and the scheduler.
        fernet: key of connections and variables in the database.
        client: password of the database, for libpq.
        database: the same password, for PostgreSQL.
    """
    user, _, login = secret(web / "login", f"admin:{password()}").partition(":")
    secret(web / "passwords.json", json.dumps({user: login}))
    secret(web / "api-secret", secrets.token_hex(32))
    secret(tokens / "jwt-secret", secrets.token_hex(32))
    secret(fernet / "fernet-key", urlsafe_b64encode(secrets.token_bytes(32)).decode())
    known = secret(database / "password", password())
    secret(client / "pgpass", f"*:*:airflow:airflow:{known}\n")
    # If airflow.cfg is missing, Airflow writes one with generated keys in it
    # (airflow/configuration.py, write_default_airflow_configuration_if_needed).
    Path(os.environ["AIRFLOW_HOME"], "airflow.cfg").touch()
    return web / "login"


def prefect(server: Path, client: Path) -> Path:
    """Create the login in the profiles of the server and of its clients; return its file.

    Prefect reads secrets from a file only as profiles.
    """
    login = json.dumps(secret(server / "login", f"admin:{password()}"))
    for folder, setting in (
        (server, "PREFECT_SERVER_API_AUTH_STRING"),
        (client, "PREFECT_API_AUTH_STRING"),
    ):
        head = 'active = "sagebridge"\n\n[profiles.sagebridge]\n'
        secret(folder / "profiles.toml", f"{head}{setting} = {login}\n")
    return server / "login"


def put_example() -> None:
    """Copy the abalone scripts and sample data to the locations that the definition names."""
    store = FolderStore(home() / "s3", base())
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder)
        objects = {
            "code/preprocessing.py": ABALONE / "preprocessing.py",
            "code/evaluation.py": ABALONE / "evaluation.py",
            "data/abalone-dataset.csv": sample / "abalone-dataset.csv",
            "data/abalone-dataset-batch.csv": sample / "abalone-dataset-batch.csv",
        }
        missing = {
            key: file for key, file in objects.items() if not store.exists(f"{BUCKET}/{key}")
        }
        if any(file.parent == sample for file in missing.values()):
            subprocess.run([sys.executable, ABALONE / "sample_data.py", sample], check=True)
        for key, file in missing.items():
            store.put(file, f"{BUCKET}/{key}")


STACKS: dict[str, Callable[..., Path]] = {"airflow": airflow, "prefect": prefect}

if __name__ == "__main__":
    stack, *folders = sys.argv[1:]
    login_file = STACKS[stack](*map(Path, folders))
    put_example()
    print(f"ready: user and password are in {login_file}")
