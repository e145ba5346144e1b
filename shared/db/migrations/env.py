"""Alembic's entry: runs migrations on the connection that `shared.db.migrate` opened."""

from alembic import context

from shared.db.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
