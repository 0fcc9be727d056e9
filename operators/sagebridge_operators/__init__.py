"""Runs the steps of SageMaker pipelines under Airflow or Prefect, on AWS or this machine."""
