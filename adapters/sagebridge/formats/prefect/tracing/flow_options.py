"""Options of a flow and its tasks that only Prefect understands: each is a loss."""

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


def retries_loss(count: object) -> Unsupported:
    what = f"retries={count} has no effect: a step is retried only under its retry policies"
    return Unsupported("retries", "dropped", what, "add retry policies to the step")


def timeout_loss(seconds: object) -> Unsupported:
    what = f"timeout_seconds={seconds} has no effect"
    advice = "limit the job itself, for example with StoppingCondition"
    return Unsupported("timeout", "dropped", what, advice)


def hook_loss(name: str) -> Unsupported:
    return Unsupported("callback", "dropped", f"{name} hooks are not called", AT_THE_END)


def option_loss(options: str) -> Unsupported:
    return Unsupported("engine-option", "info", f"{options}: used only by Prefect")


def unsupported_options(item: Any) -> Iterator[Unsupported]:
    """The options of a Flow or Task that have no equivalent in a pipeline."""
    if item.retries:
        yield retries_loss(item.retries)
    if item.timeout_seconds:
        yield timeout_loss(f"{item.timeout_seconds:g}")
    for name in _HOOKS:
        if any(not _is_sagebridge_hook(one) for one in getattr(item, name, None) or ()):
            yield hook_loss(name.removesuffix("_hooks"))
    found = [name for name in _ENGINE if getattr(item, name, None)]
    found += [] if getattr(item, "should_validate_parameters", True) else ["validate_parameters"]
    # NO_CACHE is an instance of _None (prefect/cache_policies.py), which has no public name.
    policy = getattr(item, "cache_policy", None)
    if policy is not None and type(policy).__name__ not in ("DefaultPolicy", "_None"):
        from prefect.cache_policies import DEFAULT

        found += ["cache_policy"] if policy != DEFAULT else []
    if found:
        yield option_loss(", ".join(sorted(found)))


def parallel_limit(flow: Any) -> int | None:
    """How many tasks may run at a time; None if the flow sets no limit."""
    # ThreadPoolTaskRunner has no public attribute for it (prefect/task_runners.py).
    workers = getattr(flow.task_runner, "_max_workers", None)
    return workers if isinstance(workers, int) and 0 < workers <= 10_000 else None


def _is_sagebridge_hook(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("sagebridge_operators.")
