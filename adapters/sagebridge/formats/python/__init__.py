"""What the Airflow and Prefect formats share: generated code, carried code, imported files."""
