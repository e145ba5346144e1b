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

# Whoever makes an account makes its counts: storing only ever updates them, in half the time of inserting on conflict. Eight is
# `topology.LANES_OF_AN_ACCOUNT`.
FUNCTION = """
CREATE FUNCTION headrace_count_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_counts (account_id, shard, messages, conversations)
    SELECT NEW.id, shard, 0, 0 FROM generate_series(0, 7) AS shard;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER accounts_are_counted AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION headrace_count_account()
"""

# An empty conversation is counted with its first message.
COUNT = """
INSERT INTO account_counts (account_id, shard, messages, conversations)
SELECT a.id, s.shard, CASE WHEN s.shard = 0 THEN coalesce(c.messages, 0) ELSE 0 END,
       CASE WHEN s.shard = 0 THEN coalesce(c.conversations, 0) ELSE 0 END
FROM accounts a
CROSS JOIN generate_series(0, 7) AS s(shard)
LEFT JOIN (SELECT account_id, sum(message_count) AS messages, count(*) AS conversations
           FROM conversations WHERE message_count > 0 GROUP BY account_id) c ON c.account_id = a.id
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("LOCK TABLE accounts, conversations IN SHARE ROW EXCLUSIVE MODE")
    op.execute(FUNCTION)
    op.execute(TRIGGER)
    op.execute(COUNT)
