"""The tables. What each index is for stands beside it; `docs/database.md` explains the whole.

Unique constraints are what correctness needs (migration 0001); every `Index` makes something quick (0004).

Identifiers that senders choose are ``COLLATE "C"``: compared as bytes, which is faster and sorts as Python does.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Bytewise = Text(collation="C")
Instant = TIMESTAMP(timezone=True)


class Base(DeclarativeBase):
    """The tables' registry. No relationships: the store joins in SQL, so nothing can load lazily."""

    type_annotation_map: ClassVar = {datetime: Instant, dict[str, Any]: JSONB, list[Any]: JSONB, str: Text}


class Account(Base):
    """A tenant."""

    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Bytewise, unique=True)
    api_key_hash: Mapped[bytes] = mapped_column(unique=True)  # SHA-256; the key has 256 random bits, so no slow hash is needed
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]


class Channel(Base):
    """An account's connection to one source. ``previous_secret`` is accepted until it expires."""

    __tablename__ = "channels"
    __table_args__ = (Index("channels_of_account", "account_id"),)  # deleting an account, and its list

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    source: Mapped[str]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Contact(Base):
    """Someone who writes messages, by the sender's id."""

    __tablename__ = "contacts"
    __table_args__ = (UniqueConstraint("account_id", "external_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(Bytewise)
    name: Mapped[str | None]


class Conversation(Base):
    """The key of order. ``message_count`` is the last sequence given; both change under this row's lock only."""

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("account_id", "external_id"),
        Index("conversations_by_account", "account_id", "id"),  # the account's list, page by page
        {"postgresql_with": {"fillfactor": 80}},  # room for in-page updates: every batch touches its conversations
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(Bytewise)
    message_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_message_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AccountCount(Base):
    """What one account ever stored, in shards, so that no row is one that all batches want.

    ``shard`` is `topology.shard_of` the conversation: a lane's batches have its rows to themselves. Added to in the transaction
    that stores.
    """

    __tablename__ = "account_counts"
    __table_args__ = ({"postgresql_with": {"fillfactor": 40}},)  # each row is updated by many batches: in its page

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    messages: Mapped[int] = mapped_column(BigInteger)
    conversations: Mapped[int] = mapped_column(BigInteger)


class MessageRow(Base):
    """One stored message. ``sequence`` counts from 1 within the conversation, without gaps; `id` grows with time, roughly."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("account_id", "message_id"),  # exactly once
        # Reading a conversation page by page; unique as a net below the lock under which sequences are given.
        Index("messages_conversation_id_sequence_key", "conversation_id", "sequence", unique=True),
        Index("messages_by_contact", "contact_id"),  # deleting an account would scan the table for each contact
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID]
    message_id: Mapped[str] = mapped_column(Bytewise)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[str]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime]  # accepted by the edge; for a plain producer's message, claimed by a worker
    stored_at: Mapped[datetime]  # the server's clock in the statement before the commit


class DeadLetterRow(Base):
    """A message given up on, whole. ``account_id`` is text: it may name no account at all."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        UniqueConstraint("queue", "task_id"),  # a redelivered message is one dead letter
        Index("dead_letters_of_account", "account_id", "id"),  # its list, newest first, and its count
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    queue: Mapped[str]
    task: Mapped[str]
    task_id: Mapped[str]
    account_id: Mapped[str | None]
    message_id: Mapped[str | None]
    reason: Mapped[str]
    history: Mapped[list[Any]]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
