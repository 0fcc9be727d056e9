"""Airflow DAG files."""
