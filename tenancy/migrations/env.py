"""Run by Alembic for every command. Connection, transaction and lock are the caller's, `tenancy/migrate.py`."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    version_table_schema="public",
)
with context.begin_transaction():
    context.run_migrations()
