"""When each table is vacuumed and analyzed: the defaults wait for a tenth or a fifth of a table, with 100 million rows for days.

Statistics kept up to date are what plans stand on, and dead rows of what every batch updates are what makes it slow.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

SETTINGS = {
    # Grows only: analyze it every 1 %, freeze and set its visibility map every 2 %, so that no vacuum has a year's work to do.
    "messages": {
        "autovacuum_analyze_scale_factor": "0.01",
        "autovacuum_vacuum_insert_scale_factor": "0.02",
        "autovacuum_vacuum_scale_factor": "0.02",
    },
    # Every batch updates its conversations.
    "conversations": {"autovacuum_analyze_scale_factor": "0.02", "autovacuum_vacuum_scale_factor": "0.02"},
    "contacts": {"autovacuum_analyze_scale_factor": "0.02"},
    # A few rows an account, updated by every batch: by number, not by share. Vacuuming it takes milliseconds.
    "account_counts": {"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "2000"},
    "dead_letters": {"autovacuum_analyze_scale_factor": "0.02", "autovacuum_vacuum_scale_factor": "0.02"},
}


def upgrade() -> None:
    for table, values in SETTINGS.items():
        op.execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in values.items())})")
