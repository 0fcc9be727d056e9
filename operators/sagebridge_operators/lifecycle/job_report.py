"""Reports what a step's jobs do, in the log of the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge_operators.lifecycle.answers import how_to_answer
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import JobLog
from sagebridge_operators.lifecycle.links import job_links
from sagebridge_operators.lifecycle.masking import mask_line, secrets_in_log
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.steps import JOB_TYPES


@dataclass(slots=True)
class JobReport:
    """Logs each status and each line of a job's log once."""

    task: StepTask
    log: Log
    _job: str = ""
    _status: str = ""
    _linked: str = ""
    _job_log: JobLog | None = None
    _secrets: list[str] = field(default_factory=list)
    _description: Mapping[str, Any] | None = None

    def show(self, attempt: Attempt, description: Mapping[str, Any]) -> None:
        """Logs what is new in a description of a job and in the job's log."""
        name, job_type = attempt.parts[-1].name, JOB_TYPES[attempt.type]
        status, running = job_type.status(description), job_type.state(description) == "Executing"
        is_new = name != self._job
        if is_new:
            self._job, self._status, self._job_log = name, "", None
            self._secrets = secrets_in_log(description)
        self._description = description
        if not (is_new and running):  # a new job has no log yet
            self._show_lines(attempt)
        self._link(attempt.parts[-1].shown, description)
        if status != self._status:
            self._status = status
            self.log.info("%s %s: %s", attempt.type, attempt.parts[-1].shown, status)
            if not job_type.knows_status(status):
                self.log.warning("unknown status %s; the job counts as running", status)
        if is_new and running and job_type.answered:
            self.log.info("%s", how_to_answer(self.task.step, name))

    def show_rest(self, attempt: Attempt) -> None:
        """Logs the lines that arrived after the end of the job."""
        if self._description is not None:
            self._show_lines(attempt)

    def warn_unrecorded(self, name: str) -> None:
        """Warns that the records of an earlier try are missing."""
        self.log.warning(
            "found %s %s of an earlier try, but not its record in %s; set SAGEBRIDGE_RECORDS to a "
            "location that all workers share",
            self.task.step.type,
            name,
            self.task.records.objects.location,
        )

    def warn_repeat(self, attempt: Attempt) -> None:
        """Warns that a call is repeated, as its answer was lost with its worker or connection."""
        name, by_token = attempt.parts[-1].shown, self.task.backend.name == "local"
        if JOB_TYPES[attempt.type].found_by != "at-least-once":
            return
        if by_token:
            self.log.info("waiting for the answer of %s, which an earlier worker called", name)
            return
        self.log.warning(
            "the answer of %s was lost, so it is called again. AWS does not report "
            "whether it ran, so a %s step calls it at least once",
            name,
            attempt.type,
        )

    def with_position(self, attempt: Attempt) -> Attempt:
        """The attempt with the position in its job's log, for its next record."""
        if self._job_log is None or not attempt.parts or attempt.parts[-1].name != self._job:
            return attempt
        return replace(attempt, log_position=self._job_log.position)

    def _link(self, name: str, description: Mapping[str, Any]) -> None:
        job_type = JOB_TYPES[self.task.step.type]
        if self._linked == name or self.task.backend.name != "aws":
            return
        if links := job_links(job_type, name, description):
            self._linked = name
            self.task.on_links(links)

    def _show_lines(self, attempt: Attempt) -> None:
        if JOB_TYPES[attempt.type].log_group is None and self.task.backend.name != "local":
            return
        if self._job_log is None:
            position = attempt.log_position
            self._job_log = self.task.backend.job_log(attempt.type, self._job, position)
        for line in self._job_log.read():
            self.log.info("[%s] %s", attempt.step, mask_line(line, self._secrets))
