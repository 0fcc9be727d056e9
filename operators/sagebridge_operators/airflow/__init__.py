"""SageMaker pipeline steps as Airflow tasks."""
