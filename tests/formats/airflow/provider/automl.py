"""An AutoML job, and its best candidate registered as a model version."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerAutoMLOperator,
    SageMakerRegisterModelVersionOperator,
)
from airflow.providers.amazon.aws.utils.sagemaker import ApprovalStatus
from airflow.sdk import DAG, Param

CONTAINER = "ti.xcom_pull('search')['InferenceContainers'][0]"

with DAG("automl", schedule=None, params={"limit": Param(3600, type="integer")}):
    search = SageMakerAutoMLOperator(
        task_id="search",
        job_name="search",
        s3_input="s3://tables/train.csv",
        target_attribute="age",
        s3_output="s3://models/search",
        role_arn="arn:aws:iam::111122223333:role/search",
        compressed_input=True,
        time_limit="{{ params.limit }}",
        autodeploy_endpoint_name="ages",
        extras={"ProblemType": "Regression", "AutoMLJobObjective": {"MetricName": "MSE"}},
    )
    register = SageMakerRegisterModelVersionOperator(
        task_id="register",
        image_uri=f"{{{{ {CONTAINER}['Image'] }}}}",
        model_url=f"{{{{ {CONTAINER}['ModelDataUrl'] }}}}",
        package_group_name="ages",
        package_group_desc="Models of ages",
        model_approval=ApprovalStatus.APPROVED,
        extras={"CustomerMetadataProperties": {"made_by": "{{ not rendered }}"}},
    )
    search >> register
