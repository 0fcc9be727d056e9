"""Set up a stack before its first start: ``init.py airflow`` or ``init.py prefect``.

Generates the stack's secrets, one file with mode 0600 each, and copies the example's objects into
the store. Existing files are kept.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path

from sagebridge_operators.backends import base, home
from sagebridge_operators.backends.local.store import FolderStore

SECRETS = Path(os.environ.get("SAGEBRIDGE_SECRETS", "/srv/secrets"))
ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone"
BUCKET = "s3://sagebridge-abalone"


def secret(name: str, content: str) -> str:
    """Return the secret in file ``name``; if the file is missing, create it with ``content``."""
    path = SECRETS / name
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=SECRETS, delete=False) as file:
            file.write(content)
        Path(file.name).rename(path)
    return path.read_text()


def password() -> str:
    return secrets.token_urlsafe(24)


def airflow() -> None:
    """Create the secrets for Airflow's ``_CMD`` settings and auth manager, libpq and PostgreSQL."""
    user, _, login = secret("login", f"admin:{password()}").partition(":")
    secret("passwords.json", json.dumps({user: login}))
    secret("fernet-key", urlsafe_b64encode(secrets.token_bytes(32)).decode())
    secret("api-secret", secrets.token_hex(32))
    secret("jwt-secret", secrets.token_hex(32))
    database = secret("postgres-password", password())
    secret("pgpass", f"*:*:airflow:airflow:{database}\n")
    # If airflow.cfg is missing, Airflow writes one with generated keys in it
    # (airflow/configuration.py, write_default_airflow_configuration_if_needed).
    Path(os.environ["AIRFLOW_HOME"], "airflow.cfg").touch()


def prefect() -> None:
    """Create the login in a Prefect profile: Prefect reads secrets from a file only as profiles."""
    login = json.dumps(secret("login", f"admin:{password()}"))
    secret(
        "profiles.toml",
        'active = "sagebridge"\n\n[profiles.sagebridge]\n'
        f"PREFECT_SERVER_API_AUTH_STRING = {login}\nPREFECT_API_AUTH_STRING = {login}\n",
    )


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


if __name__ == "__main__":
    {"airflow": airflow, "prefect": prefect}[sys.argv[1]]()
    put_example()
    print(f"ready: user and password are in {SECRETS / 'login'}")
