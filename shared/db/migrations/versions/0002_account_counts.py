"""What each account has stored, counted as it is stored: `GET /v1/stats` adds up a few rows instead of all conversations.

A worker of an older version stores without counting, so none may run while this does: `headrace down`, upgrade, `headrace up`.
The lock keeps out those that run all the same until the conversations have been counted.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLE = """
CREATE TABLE account_counts (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    shard smallint NOT NULL,
    messages bigint NOT NULL,
    conversations bigint NOT NULL,
    PRIMARY KEY (account_id, shard)
) WITH (fillfactor = 40)
"""

# An empty conversation is counted with its first message.
COUNT = """
INSERT INTO account_counts (account_id, shard, messages, conversations)
SELECT account_id, 0, sum(message_count), count(*) FROM conversations WHERE message_count > 0 GROUP BY account_id
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("LOCK TABLE conversations IN SHARE ROW EXCLUSIVE MODE")
    op.execute(COUNT)
