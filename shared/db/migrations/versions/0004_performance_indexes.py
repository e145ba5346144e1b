"""The indexes that make reading quick, built while the fleet runs. What each is for: docs/database.md.

A database that has some of them from an earlier form of 0001 keeps those.
"""

from alembic import context, op

from shared.db.index_build import Index, build

revision = "0004"
down_revision = "0003"

INDEXES = (
    Index("messages_conversation_id_sequence_key", "messages (conversation_id, sequence)", unique=True),
    Index("messages_by_contact", "messages (contact_id)"),
    Index("conversations_by_account", "conversations (account_id, id)"),
    Index("dead_letters_of_account", "dead_letters (account_id, id)"),
    Index("channels_of_account", "channels (account_id)"),
)

REPLACED = ("dead_letters_by_account", "ix_channels_account_id")
"""Of an earlier form of 0001."""


def upgrade() -> None:
    say = context.config.attributes.get("say")
    with op.get_context().autocommit_block():
        for index in INDEXES:
            build(op.get_bind(), index, say)
        for name in REPLACED:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
