"""Logs and metrics. One line a failure of ours, with the request id; never a value of a row."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from engine.errors import ApiError

LABELS = ("entity", "op", "status")
PLAIN: tuple[Any, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
)


def told(logger: Any, name: str, event: Any) -> Any:
    """A line as the process writes its lines, however a host has configured them: but the traceback is text by then. Those that
    renderers make print local variables, and those hold rows, passwords and the headers of callers."""
    error = event.pop("exc_info", None)
    if error is not None:
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    with warnings.catch_warnings():
        # some renderers would rather have made the traceback themselves
        warnings.simplefilter("ignore", UserWarning)
        for processor in structlog.get_config()["processors"] if structlog.is_configured() else PLAIN:
            event = processor(logger, name, event)
    return event


LOG: Any = structlog.wrap_logger(None, processors=[told], logger_factory_args=("cxg",))


def configure_logging(form: str) -> None:
    """Log lines as `console` text or one `json` object each, with time and level."""
    structlog.configure(
        processors=[*PLAIN[:-1], structlog.processors.JSONRenderer()] if form == "json" else PLAIN,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class Identified(Protocol):
    """A request, as far as a log line needs it."""

    id: str
    method: str
    path: bytes


class Answers(Collector):
    """Counts of answers, kept as plain numbers and shown to Prometheus when it asks."""

    def __init__(self) -> None:
        self.counts: dict[tuple[Any, Any, int], int] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One counter by entity, operation and HTTP status."""
        family = CounterMetricFamily("cxg_requests", "Answers by entity, operation and HTTP status", labels=LABELS)
        for (resource, op, status), count in list(self.counts.items()):
            family.add_metric([resource.path if resource else "-", op.value if op else "-", str(status)], count)
        yield family


class Observer:
    """Counts answers and writes log lines."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Answers()
        self.registry.register(self.answers)

    def count(self, target: Any, status: int) -> None:
        """One answer."""
        key = (target.resource, target.op, status) if target is not None else (None, None, status)
        counts = self.answers.counts
        counts[key] = counts.get(key, 0) + 1

    def refused(self, request: Identified, error: ApiError, cause: BaseException) -> None:
        """What is our own fault is logged with its cause."""
        if error.status >= 500:
            known = {
                "code": error.code,
                "request_id": request.id,
                "method": request.method,
                "path": request.path.decode("latin-1")[:200],
            }
            LOG.error(
                "request failed",
                **known,
                cause=_told(cause),
                where=" ".join(getattr(cause, "__notes__", ())),
                exc_info=cause if error.code == "internal_error" else None,
            )
        elif error.code == "rejected_by_database":
            self.noted(request.id, error, cause)
        elif "42501" in (getattr(cause, "sqlstate", None), getattr(cause.__cause__, "sqlstate", None)):
            LOG.critical(
                "row security refused a statement",
                request_id=request.id,
                cause=repr(cause.__cause__ or cause)[:500],
                where=" ".join(getattr(cause, "__notes__", ())),
            )

    @staticmethod
    def noted(request_id: str, error: BaseException, cause: BaseException | None = None) -> None:
        """Of a database's own refusal the reason, which callers are not told."""
        if getattr(error, "code", "") == "rejected_by_database":
            told = error.__cause__ or cause or error
            LOG.warning("the database refused", request_id=request_id, cause=repr(told)[:500])

    @staticmethod
    def broken(request: Identified, error: ApiError, cause: BaseException) -> None:
        """An answer was cut off on its way."""
        LOG.error("answer cut off", request_id=request.id, code=error.code, cause=repr(cause)[:500])

    @staticmethod
    def hook_failed(rule: str, request_id: str, error: BaseException) -> None:
        """A hook after commit failed; the change stands."""
        LOG.error("hook failed after commit", rule=rule, request_id=request_id, cause=repr(error)[:500])

    def metrics(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self.registry)


def _told(error: BaseException) -> str:
    """An error, and what it came from."""
    return " from ".join(repr(part)[:500] for part in (error, error.__cause__) if part is not None)
