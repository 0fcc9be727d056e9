"""User-defined operators, and operators without a step type."""

from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerModelOperator,
    SageMakerStartPipelineOperator,
)
from airflow.sdk import DAG, BaseOperator


class TeamModelOperator(SageMakerModelOperator):
    """Only fills in what every model of the team has."""

    def __init__(self, *, image, **kwargs):
        container = {"Image": image, "ModelDataUrl": "s3://models/model.tar.gz"}
        role = "arn:aws:iam::111122223333:role/team"
        config = {"ModelName": "m", "ExecutionRoleArn": role, "PrimaryContainer": container}
        super().__init__(config=config, **kwargs)


class LoudModelOperator(SageMakerModelOperator):
    """Does something else when it runs."""

    def execute(self, context):
        print("loud")
        return super().execute(context)


class NoteOperator(BaseOperator):
    def __init__(self, note, **kwargs):
        super().__init__(**kwargs)
        self.note = note

    def execute(self, context):
        return self.note


with DAG("own", schedule=None):
    cluster = EmrCreateJobFlowOperator(task_id="cluster", job_flow_overrides={"Name": "spark"})
    step = EmrAddStepsOperator(
        task_id="step",
        job_flow_id=cluster.output,
        steps=[{"Name": "one", "HadoopJarStep": {"Jar": "command-runner.jar"}}],
    )
    stop = EmrTerminateJobFlowOperator(
        task_id="stop", job_flow_id=cluster.output, trigger_rule="all_done"
    )
    model = TeamModelOperator(task_id="model", image="xgboost:3")
    loud = LoudModelOperator(task_id="loud", config={"ModelName": "loud"})
    note = NoteOperator(task_id="note", note="nothing")
    other = SageMakerStartPipelineOperator(task_id="other", pipeline_name="other")
    step >> [stop, model]
    model >> loud >> note >> other
