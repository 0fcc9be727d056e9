"""Deferred steps: Airflow's triggerer looks at their jobs, and no worker waits."""
