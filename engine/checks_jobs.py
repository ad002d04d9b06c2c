"""Start-up rules about the handlers of jobs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from engine.declared import Declared, overall
from engine.jobs import CADENCES, cron_fault

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}").fullmatch


@overall("E035")
def jobs_have_names(declared: Declared) -> Iterator[str]:
    """A handler's name is a word, and its own in all scopes: schedules name it."""
    names = [handler.name for jobs in declared.jobs for handler in jobs.handlers]
    for name, count in Counter(names).items():
        if count > 1:
            yield f"job {name!r} is declared {count} times; rename all but one"
        if not NAME(name):
            yield f"job {name!r}: a name has lower-case letters, digits and _, at most 32"


@overall("E036")
def jobs_have_scopes(declared: Declared) -> Iterator[str]:
    """A handler works in a declared scope."""
    known = [scope.name for scope in declared.scopes]
    for jobs in declared.jobs:
        if jobs.scope not in known:
            yield f"jobs of scope {jobs.scope!r}, which is not declared; scopes are {', '.join(known)}"


@overall("E037")
def cadences_can_be_read(declared: Declared) -> Iterator[str]:
    """A cadence is one of the words, or a cron text."""
    for handler in (handler for jobs in declared.jobs for handler in jobs.handlers):
        if fault := cron_fault(handler.cron):
            yield f"job {handler.name!r}, cadence {handler.cron!r}: {fault}; or say one of {', '.join(CADENCES)}"
        if not 1 <= handler.timeout <= 86_400:
            yield f"job {handler.name!r}: timeout {handler.timeout} is not between 1 and 86400 seconds"


@overall("E038")
def one_handler_schedules(declared: Declared) -> Iterator[str]:
    """The runs of all handlers are queued by one of them."""
    names = [handler.name for jobs in declared.jobs for handler in jobs.handlers if handler.scheduler]
    if len(names) > 1:
        yield f"jobs {', '.join(names)} all say scheduler=True; keep it on one"
