"""twelve_domains: executes the SQL file beside it."""

from tenancy.migrate import execute_beside

revision = "0002"
down_revision = '0001'


def upgrade() -> None:
    execute_beside(__file__)
