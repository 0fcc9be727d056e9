"""What the files need to run: objects, queues, settings, answers of services that moto lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.carried.services import ACCOUNT, REGION, Aws

Setup = Callable[[Aws], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of a pipeline of a file.

    Attributes:
        name: the DAG or flow, if the file has several.
        date: the logical date of the DAG, and the scheduled start of the flow.
        parameters: the ``conf`` or the arguments of the run.
        setup: creates what the run reads.
        variables: Airflow's and Prefect's Variables.
        connections: Airflow Connections as URIs, and blocks of the same name in Prefect.
        blocks: Prefect blocks: module, class, name and values.
        answers: answers to AWS calls by ``service.Operation``; a list is used in order.
        additions: values that moto's answers lack, by ``service.Operation``.
        replaced: text of the file that is replaced in the file and its translation: ARNs of other
            accounts, times and folders; ``{files}`` in a value is the folder of ``files``.
        files: files that the run reads, by name.
        others: pipelines that exist, with their only step and how many hours ago they were due and
            have succeeded; without hours, the scenario starts them.
        environment: more environment variables.
        fails: the run fails, on both engines.
    """

    name: str | None = None
    date: str = "2025-03-10T06:00:00+00:00"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    setup: Setup | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    blocks: Sequence[tuple[str, str, str, Mapping[str, Any]]] = ()
    answers: Mapping[str, Any] = field(default_factory=dict)
    additions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[tuple[str, str, float | None]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False


DAY = "2025-03-10"


def _orders(aws: Aws) -> None:
    lines = "\n".join(
        (
            "order_id,country,amount,currency,placed_at",
            f"1,NL,10.50,EUR,{DAY}",
            f"1,NL,10.50,EUR,{DAY}",
            f"2,DE,7.25,EUR,{DAY}",
            f"3,DE,-1.00,EUR,{DAY}",
        )
    )
    aws.put_objects("acme-data", {f"raw/orders/{DAY}/orders.csv": lines})


def _events(aws: Aws) -> None:
    days = {
        f"events/web/2025-03-{day:02d}.json": [{"customer": "a", "value": day}]
        for day in range(4, 11)
    }
    aws.put_objects("acme-data", days)


def _ledger(aws: Aws) -> None:
    lines = [{"account": name, "amount": 1.5 * at} for at, name in enumerate("abcdefg")]
    aws.put_objects("acme-data", {f"ledger/{DAY}.json": [*lines, lines[1]]})
    aws.topic("finance-alerts")


def _no_lines(aws: Aws) -> None:
    aws.put_objects("acme-data", {f"ledger/{DAY}.json": []})


def _leads(aws: Aws) -> None:
    posts = [{"id": 1, "at": "2025-05-10T05:30:00"}, {"id": 2, "at": "2025-05-10T07:30:00"}]
    aws.put_objects("acme-data", {"leads/posts.json": posts})
    aws.queue("lead-scores")


def _weather(temperatures: Mapping[str, float]) -> Setup:
    def setup(aws: Aws) -> None:
        aws.put_objects("weather", {f"{DAY}/stations.json": dict(temperatures)})
        aws.topic("weather")

    return setup


def _parcels(aws: Aws) -> None:
    files = {f"{DAY}/fast/{number}.txt": "a\n" * 60 for number in range(2)}
    aws.put_objects("parcels", {**files, f"{DAY}/manifest.txt": "fast"})


def _few_parcels(aws: Aws) -> None:
    files = {f"{DAY}/{name}.txt": "a\nb\n" for name in ("fast/0", "fast/1", "late/0")}
    aws.put_objects("parcels", {**files, f"{DAY}/manifest.txt": "fast late"})


def _stores(aws: Aws) -> None:
    lists = {
        "in/north/a.json": {"tea": 2.0, "rice": 1.5},
        "in/north/b.json": {"tea": 2.5},
        "in/south/c.json": {"milk": 1.0, "tea": 3.0, "salt": 0.4},
    }
    aws.put_objects("stores", lists)


def _shops(aws: Aws) -> None:
    lines = {
        "north-1": "id,amount\n1,2.5\n2,3",
        "north-2": "id,amount\n3,1",
        "south-1": "id,amount\n1,2.5",
    }
    aws.put_objects("shops", {f"{DAY}/{name}.csv": text for name, text in lines.items()})
    aws.client("sqs").send_message(QueueUrl=aws.queue("shops"), MessageBody="north and south")


def _documents(aws: Aws) -> None:
    aws.put_objects("documents", {f"{DAY}/index.json": {"pages": 3}, f"{DAY}/page.txt": "x"})
    aws.topic("archive")
    aws.queue("indexer")


def _exports(aws: Aws) -> None:
    aws.put_objects("exports", {"tmp/a": "1", "tmp/b": "2"})


def _tickets(aws: Aws) -> None:
    texts = ("Invoice 3 is wrong", "It does not start", "Refund, please", "invoice missing")
    tickets = [{"id": number, "text": text} for number, text in enumerate(texts)]
    aws.put_objects("tickets", {f"{DAY}/tickets.json": tickets})
    aws.queue("billing-tickets")
    aws.queue("other-tickets")


def _photos(aws: Aws) -> None:
    aws.put_objects("photos", {f"2024/harbour/{number}.jpg": f"p{number}" for number in range(3)})


def _meters(aws: Aws) -> None:
    power = [{"household": "a", "value": 100}, {"household": "b", "value": 1000}]
    gas = [{"household": "a", "value": 20}]
    folder = f"{DAY[:7].replace('-', '/')}/{DAY}.json"
    aws.put_objects("meters", {f"power/{folder}": power, f"gas/{folder}": gas})


def _press(aws: Aws) -> None:
    lists = {
        "in/daily.json": ["New port opens", "Rain again", "A ship in the port"],
        "in/weekly.json": ["Port in numbers", "New port opens", "Ships of the year"],
    }
    aws.put_objects("press", lists)


def _quiet_press(aws: Aws) -> None:
    aws.put_objects("press", {"in/daily.json": ["Rain"], "in/weekly.json": []})


def _harbour(aws: Aws) -> None:
    aws.put_objects("harbour", {})


def _grid(aws: Aws) -> None:
    aws.put_objects("grid", {})


def _clicks(aws: Aws) -> None:
    hour = "2025/05/12/06"
    closed = {f"clicks/{hour}/{shard}/_CLOSED": "" for shard in range(4)}
    parts = {f"clicks/{hour}/0/a": "x", f"staging/sessions/{hour}/part-00000.parquet": "y"}
    aws.put_objects("acme-data", {**closed, **parts})


def _no_clicks(aws: Aws) -> None:
    closed = {f"clicks/2025/05/12/06/{shard}/_CLOSED": "" for shard in range(4)}
    aws.put_objects("acme-data", {**closed, "staging/sessions/2025/05/12/06/old": "y"})


def _warehouse(aws: Aws) -> None:
    aws.client("iam").create_role(RoleName="jobs", AssumeRolePolicyDocument="{}")
    aws.topic("warehouse")


def _orphans(count: int) -> Mapping[str, Any]:
    rows = [{"Data": [{"VarCharValue": one}]} for one in ("orphans", str(count))]
    return {"athena.GetQueryResults": {"ResultSet": {"Rows": rows}}}


def _churn(aws: Aws) -> None:
    folders = (f"events/{DAY}", f"sets/{DAY}/train", f"sets/{DAY}/validation", "customers")
    aws.put_objects("acme-data", {f"churn/{one}/a.csv": "1,2" for one in folders})
    group = "churn"
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)


def _auc(value: float) -> Mapping[str, Any]:
    metrics = [{"MetricName": "validation:auc", "Value": value, "Timestamp": 0}]
    return {"sagemaker.DescribeTrainingJob": {"FinalMetricDataList": metrics}}


def _ranking(aws: Aws) -> None:
    aws.put_objects("acme-data", {"ranking/2025-04/a.csv": "1,2"})
    sagemaker, role = aws.client("sagemaker"), f"arn:aws:iam::{ACCOUNT}:role/jobs"
    sagemaker.create_training_job(
        TrainingJobName="best",
        RoleArn=role,
        AlgorithmSpecification={"TrainingInputMode": "File", "TrainingImage": "x"},
        OutputDataConfig={"S3OutputPath": "s3://acme-data/ranking/models/"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    sagemaker.create_model(ModelName="old", ExecutionRoleArn=role)
    variant = {"VariantName": "main", "ModelName": "old", "InitialInstanceCount": 1}
    for name in ("ranking-staging", "ranking-production"):
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[{**variant, "InstanceType": "ml.t2.medium"}],
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


_NO_TRAINING = {
    "sagemaker.DescribeTrainingJob": {"TrainingJobStatus": "Failed", "FailureReason": "no data"}
}
_FAILED_JOB = {"jobs": [{"jobId": "x", "status": "FAILED", "statusReason": "spot"}]}
_EXIT_1 = {
    "tasks": [
        {
            "taskArn": "x",
            "lastStatus": "STOPPED",
            "containers": [{"name": "main", "lastStatus": "STOPPED", "exitCode": 1}],
        }
    ],
    "failures": [],
}
_LIMITS = ("0.01", "0.4", "3", "10")
_BEST = {"BestTrainingJob": {"TrainingJobName": "best", "TrainingJobStatus": "Completed"}}


def _risk(aws: Aws) -> None:
    total = {"var_99": 12.5, "desk": "rates"}
    aws.put_objects("acme-data", {f"risk/{DAY}/total.json": total})
    aws.put_objects("acme-scratch", {f"risk/{DAY}/a": "1", "risk/2025-03-09/b": "2"})


def _applications(aws: Aws) -> None:
    scores = '{"score": 0.2}\n{"score": 0.5}\n{"score": 0.9}'
    waiting = {f"applications/{DAY}/{name}": "x" for name in ("a", "b", "_READY")}
    aws.put_objects("acme-data", {**waiting, f"scores/{DAY}/a.out": scores})
    aws.topic("scoring")
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="credit-risk")
    for _ in range(2):
        sagemaker.create_model_package(
            ModelPackageGroupName="credit-risk", ModelApprovalStatus="Approved"
        )


def _no_applications(aws: Aws) -> None:
    aws.put_objects("acme-data", {f"applications/{DAY}/a": "x"})
    aws.topic("scoring")


def _no_model(aws: Aws) -> None:
    aws.put_objects("acme-data", {f"applications/{DAY}/{one}": "x" for one in ("a", "_READY")})
    aws.topic("scoring")


_AWS_BLOCK = ("prefect_aws", "AwsCredentials", "aws-ml", {"region_name": REGION})
_STATEMENT = "account,balance\na,10.00\nb,7.50\nd,1\n"
_INBOX_FILES = {
    "inbox/statement.csv": _STATEMENT,
    f"inbox/ledger-{DAY}.json": '{"a": 10.0, "b": 8.0, "c": 2}',
    "archive/old.csv": "",
}
_CATALOG = {"CATALOG_OFFLINE": "1"}
_INDEXER = {"indexer_queue": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/indexer"}
OWN: Mapping[str, Sequence[Scenario]] = {
    "weather_alerts": (
        Scenario(setup=_weather({"hill": -3.5, "city": 4}), variables={"frost_limit": "-1"}),
        Scenario(setup=_weather({"hill": 8.5, "city": 14})),
        Scenario(setup=_weather({"hill": 8.5}), parameters={"always_warn": True}),
    ),
    "parcel_arrivals": (Scenario(setup=_parcels), Scenario(setup=_few_parcels)),
    "branch_stores": (Scenario(setup=_stores),),
    "shop_imports": (Scenario(setup=_shops, variables={"shop_queue": "shops"}),),
    "archive_documents": (Scenario(setup=_documents, variables=_INDEXER),),
    "nightly_exports": (
        Scenario(setup=_exports),
        Scenario(setup=_exports, parameters={"broken": True, "limit": 1}),
    ),
    "ticket_router": (Scenario(setup=_tickets), Scenario(setup=_tickets, parameters={"limit": 9})),
    "photo_albums": (
        Scenario(setup=_photos),
        Scenario(setup=_photos, parameters={"size": "large"}),
    ),
    "meter_readings": (
        Scenario(setup=_meters, variables={"bill_prefix": "out"}),
        Scenario(setup=_meters, parameters={"day": DAY, "most": 2000}),
    ),
    "tide_tables": (
        Scenario(parameters={"first": DAY}),
        Scenario(
            parameters={
                "first": DAY,
                "at": "2025-03-11T07:00:00+01:00",
                "until": "2025-04-01",
                "pause": "PT1H",
                "fee": "1.25",
                "marks": ["spring"],
                "pair": [2, "dock"],
                "detail": "hourly",
                "unit": "ft",
                "counts": {"a": 1},
                "station": {"name": "dock", "gauge": {"since": DAY, "offset": 0.1}, "readings": 6},
                "window": {"days": 1, "marks": ["low"]},
                "note": "a note",
            }
        ),
    ),
    "press_digest": (Scenario(setup=_press), Scenario(setup=_quiet_press)),
    "sensor_grid": (Scenario(setup=_grid),),
    "harbour_reports": (
        Scenario(setup=_harbour),
        Scenario(
            setup=_harbour,
            variables={"least_ships": "4"},
            connections={"harbour-token": "http://user:abc@harbour"},
            blocks=[("prefect.blocks.system", "Secret", "harbour-token", {"value": "abc"})],
        ),
    ),
}
"""By file name, for the files in this folder."""
CORPUS: Mapping[str, Sequence[Scenario]] = {
    "orders_daily_etl": (Scenario(setup=_orders),),
    "feature_backfill_mapped": (Scenario(setup=_events),),
    "revenue_branch_report": (
        Scenario(setup=_ledger, connections={"finance_dashboard": "http://dashboard.example"}),
        Scenario(
            setup=_ledger,
            parameters={"force_full": True},
            connections={"finance_dashboard": "http://dashboard.example"},
        ),
        Scenario(setup=_no_lines),
    ),
    "asset_scoring": (
        Scenario(name="collect_leads", date="2025-05-10T06:00:00+00:00", setup=_leads),
    ),
    "clickstream_emr_hourly": (
        Scenario(date="2025-05-12T06:00:00+00:00", setup=_clicks),
        Scenario(date="2025-05-12T06:00:00+00:00", setup=_no_clicks),
    ),
    "warehouse_refresh": tuple(
        Scenario(
            setup=_warehouse,
            answers=_orphans(count),
            replaced={"us-east-1:111122223333": f"{REGION}:{ACCOUNT}"},
        )
        for count in (0, 3)
    ),
    "churn_train_register": tuple(
        Scenario(
            setup=_churn,
            additions=additions,
            connections={"aws_ml": "aws://"},
            blocks=[_AWS_BLOCK],
            fails=additions is _NO_TRAINING,
        )
        for additions in (_auc(0.9), _auc(0.5), _NO_TRAINING)
    ),
    "tuning_endpoint_rollout": tuple(
        Scenario(
            date="2025-05-12T06:00:00+00:00",
            setup=_ranking,
            parameters=parameters,
            additions={"sagemaker.DescribeHyperParameterTuningJob": _BEST},
            # Airflow renders it to a number, which SageMaker rejects.
            replaced={f'Value": "{one}"': f'Value": "\'{one}\'"' for one in _LIMITS},
            others=[("ranking_smoke_test", "smoke", None)],
        )
        for parameters in ({}, {"stage": "production", "max_jobs": 3})
    ),
    "month_end_close": (
        Scenario(
            files=_INBOX_FILES,
            replaced={"/mnt/finance": "{files}"},
            connections={"ledger_db": "postgres://ledger/db", "fs_default": "file:///"},
            variables={"close_tolerance": "0.1"},
            others=[("ledger_daily", "publish", 2), ("management_report", "report", None)],
        ),
    ),
    "nightly_simulation": tuple(
        Scenario(
            setup=_risk,
            answers=answers,
            replaced={"time(22, 30)": "time(0, 0)"},
        )
        for answers in ({}, {"ecs.DescribeTasks": _EXIT_1}, {"batch.DescribeJobs": _FAILED_JOB})
    ),
    "batch_transform_report": tuple(
        Scenario(
            setup=setup,
            parameters={"day": DAY},
            # The state of a failed DAG run has no text of an error.
            replaced={"111122223333:scoring": f"{ACCOUNT}:scoring", ": {state.message}": ""},
            fails=setup is _no_model,
        )
        for setup in (_applications, _no_applications, _no_model)
    ),
    "churn_training_flow": tuple(
        Scenario(
            parameters={"day": DAY, **settings},
            setup=_churn,
            additions=_auc(auc),
            connections={"aws-ml": "aws://"},
            blocks=[_AWS_BLOCK],
            replaced={"{datetime.now(timezone.utc):%H%M%S}": "now"},
        )
        for auc, settings in (
            (0.9, {}),
            (0.5, {}),
            (0.9, {"settings": {"min_auc": 0.95, "max_depth": 3}}),
        )
    ),
    "invoices_etl": (Scenario(),),
    "catalog_sync": (Scenario(environment=_CATALOG),),
    "sales_forecast": (Scenario(),),
    "inventory_quality": (
        Scenario(parameters={"mode": "full"}),
        Scenario(),
        Scenario(parameters={"warehouses": ["porto"]}),
    ),
}
"""By file name, for the files in ``$SAGEBRIDGE_CORPUS/code``."""
