"""What a flow and its tasks say to Prefect alone: each such word is a loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.losses import AT_THE_END

_HOOKS = (
    "on_cancellation_hooks",
    "on_commit_hooks",
    "on_completion_hooks",
    "on_crashed_hooks",
    "on_failure_hooks",
    "on_rollback_hooks",
    "on_running_hooks",
)
_ENGINE = (
    "cache_expiration",
    "cache_key_fn",
    "flow_run_name",
    "log_prints",
    "persist_result",
    "result_storage",
    "result_storage_key",
    "retry_condition_fn",
    "tags",
    "task_run_name",
)


def retried(count: object) -> Unsupported:
    what = f"retries={count}: Prefect starts it again after any failure, a pipeline only after the "
    advice = "give the step RetryPolicies"
    return Unsupported("retries", "dropped", f"{what}faults that a RetryPolicy names", advice)


def timed(seconds: object) -> Unsupported:
    what = f"timeout_seconds={seconds} does not end it"
    return Unsupported("timeout", "dropped", what, "set its StoppingCondition")


def hooked(name: str) -> Unsupported:
    return Unsupported("callback", "dropped", f"{name} is not called", AT_THE_END)


def of(item: Any) -> Iterator[Unsupported]:
    """What a Flow or Task says that a pipeline has no word for."""
    if item.retries:
        yield retried(item.retries)
    if item.timeout_seconds:
        yield timed(f"{item.timeout_seconds:g}")
    for name in _HOOKS:
        if any(not _is_ours(one) for one in getattr(item, name, None) or ()):
            yield hooked(name.removesuffix("_hooks"))
    said = [name for name in _ENGINE if getattr(item, name, None)]
    said += [] if getattr(item, "should_validate_parameters", True) else ["validate_parameters"]
    policy = getattr(item, "cache_policy", None)
    if policy is not None and type(policy).__name__ not in ("DefaultPolicy", "_None"):
        from prefect.cache_policies import DEFAULT

        said += ["cache_policy"] if policy != DEFAULT else []
    if said:
        yield Unsupported(
            "engine-option", "info", f"{', '.join(sorted(said))}: only Prefect has a use for it"
        )


def limit(flow: Any) -> int | None:
    """How many tasks may run at a time; None where the flow does not say."""
    workers = getattr(flow.task_runner, "_max_workers", None)
    return workers if isinstance(workers, int) and 0 < workers <= 10_000 else None


def _is_ours(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("sagebridge_operators.")
