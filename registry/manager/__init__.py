"""Manager scope: the platform's own database. Here rows of every tenant lie side by side, so `tenant_id` is a business
column like any other."""

import re
from typing import Any

from sqlalchemy import CheckConstraint, MetaData, Table

from engine.types import Model


def name_rule(rule: CheckConstraint, table: Table) -> str:
    """Name a check by the columns it compares: a running number would change whenever a check is added."""
    words = re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", "", str(rule.sqltext)))
    return "_".join(["ck", table.name, *dict.fromkeys(word for word in words if word in table.c)])[:63]


NAMING: dict[str, Any] = {
    "rule": name_rule,
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "%(rule)s",
}


class ManagerModel(Model):
    """Base of the platform's models."""

    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING)
