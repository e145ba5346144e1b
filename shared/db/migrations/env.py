"""Alembic's entry: runs migrations on the connection that `shared.db.migrate` opened, each in a transaction of its own.

One transaction for all of them would be simpler, but an index cannot be built ``CONCURRENTLY`` inside one.
"""

from alembic import context

from shared.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=True,
    on_version_apply=context.config.attributes.get("on_applied"),
)
with context.begin_transaction():
    context.run_migrations()
