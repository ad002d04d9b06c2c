"""Configuration: number sequences of the platform's own documents."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import BigInt, Code, SmallInt, column
from registry.manager import ManagerModel


class NumberSequence(ManagerModel, table="cnfg.number_sequences"):
    """Counter for manager document numbers (INV, CN, INC, TCK, RST, DSR)."""

    code: Mapped[Code]
    prefix: Mapped[str] = column(String(12))
    padding: Mapped[SmallInt] = column(default=5, minimum=3, maximum=10)
    reset: Mapped[Literal["never", "yearly"]] = column(default="yearly")
    gapless: Mapped[bool] = column(default=False)
    current_year: Mapped[SmallInt | None]
    next_value: Mapped[BigInt] = column(default=1)


number_sequences = Entity(
    NumberSequence,
    kind="config",
    operations="cglud",
    label="code",
    unique=["code"],
    search=["code"],
    once=["code", "reset", "gapless"],
    read_only=["current_year"],
    role="number_sequences",
)
