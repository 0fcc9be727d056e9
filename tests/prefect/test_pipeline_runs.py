"""Other flow runs on the server, as steps that start or await them see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from sagebridge.errors import UsageError

pytestmark = pytest.mark.prefect
DUE = datetime(2026, 1, 31, 7, tzinfo=UTC)


def test_runs_of_a_deployment_are_started_and_found(server: None) -> None:
    from prefect import flow, task
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    from sagebridge_operators.prefect.pipeline_runs import FlowRuns

    def report(month: str = "") -> str:
        task(lambda: None, name="publish")()
        return month

    runs = FlowRuns()
    with pytest.raises(UsageError, match="no single deployment"):
        runs.start("management report", {})
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("management report")
        client.create_deployment(flow_id=flow_id, name="monthly", entrypoint="x.py:report")
        first = runs.start(
            "management report", {"month": "2026-01"}, run_id="close__1", logical_date=DUE
        )
        again = runs.start("management report/monthly", {}, run_id="close__1")
        assert again == first
        assert runs.state("management report", first) == "Pending"
        assert runs.state("management report", "close__1") == "Pending"
        assert runs.state("management report", str(uuid4())) == ""
        assert runs.at("management report", [DUE]) == {DUE: "Pending"}
        assert runs.step_states("management report", [DUE], ["publish"]) == {DUE: {}}
        found = client.read_flow_run(first)
        assert found.parameters == {"month": "2026-01"}
        run_flow(flow(name="management report")(report), found, parameters=found.parameters)
    later = DUE + timedelta(hours=1)
    assert runs.at("management report", [DUE, later]) == {DUE: "Succeeded"}
    assert runs.state("management report", first) == "Succeeded"
    with pytest.raises(UsageError, match="there is no deployment 'management report/gone'"):
        runs.start("management report/gone", {})
