"""Shapes -> SQL text. SQLAlchemy compiles each shape once; asyncpg runs the text. Pure."""

from engine.sql.read import Reads
from engine.sql.write import Writes

__all__ = ["Reads", "Writes"]
