"""What runs the steps of a pipeline: on AWS or on this machine, under Airflow or Prefect."""
