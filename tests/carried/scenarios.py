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


def _grid(aws: Aws) -> None:
    aws.put_objects("grid", {})


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
    "meter_readings": (Scenario(setup=_meters, variables={"bill_prefix": "out"}),),
    "press_digest": (Scenario(setup=_press), Scenario(setup=_quiet_press)),
    "sensor_grid": (Scenario(setup=_grid),),
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
    "invoices_etl": (Scenario(),),
    "catalog_sync": (Scenario(environment=_CATALOG),),
    "sales_forecast": (Scenario(),),
    "inventory_quality": (Scenario(parameters={"mode": "full"}), Scenario()),
}
"""By file name, for the files in ``$SAGEBRIDGE_CORPUS/code``."""
