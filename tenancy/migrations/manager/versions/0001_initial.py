"""initial: executes the SQL file beside it."""

from tenancy.migrate import execute_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    execute_beside(__file__)
