"""`messages.store` as most teams write it: stock Celery 5.7 on Redis, an ORM session and a commit for each message.

As good as a sensible engineer makes it in an hour: models with the unique keys, get-or-create that survives a race (savepoint),
the conversation's row locked before it counts, late acks with retries, an engine for each child.
No results, no events, hiredis, and a prefetch of 16 a child, as is advised for short tasks; larger ones won nothing here.

It stores into the same tables as Headrace and imports nothing of it. The broker's address comes from CELERY_BROKER_URL, the
database's from libpq's PG* variables, each read by its own library.
"""

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from celery import Celery
from celery.signals import worker_process_init
from sqlalchemy import BigInteger, ForeignKey, Identity, UniqueConstraint, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

app = Celery("idiomatic")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
    broker_connection_retry_on_startup=True,
)

engine = create_engine("postgresql+psycopg://")
NewSession = sessionmaker(engine, expire_on_commit=False)
Row = TypeVar("Row", "Contact", "Conversation")


class Base(DeclarativeBase):
    """The tables' registry."""

    type_annotation_map = {datetime: TIMESTAMP(timezone=True)}  # noqa: RUF012 - SQLAlchemy's own form


class Contact(Base):
    """Who writes."""

    __tablename__ = "contacts"
    __table_args__ = (UniqueConstraint("account_id", "external_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID]
    external_id: Mapped[str]
    name: Mapped[str | None]


class Conversation(Base):
    """The key of order."""

    __tablename__ = "conversations"
    __table_args__ = (UniqueConstraint("account_id", "external_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID]
    external_id: Mapped[str]
    message_count: Mapped[int] = mapped_column(BigInteger, default=0)
    last_message_at: Mapped[datetime | None]


class Message(Base):
    """One message."""

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("account_id", "message_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID]
    message_id: Mapped[str]
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[str]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    sent_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=func.now())
    stored_at: Mapped[datetime] = mapped_column(default=func.clock_timestamp())


def forget_inherited_connections(**_: Any) -> None:
    """A child shares no socket with its parent."""
    engine.dispose(close=False)


worker_process_init.connect(forget_inherited_connections)


@app.task(  # type: ignore[untyped-decorator]
    name="messages.store", autoretry_for=(IntegrityError, OperationalError), retry_backoff=True, max_retries=5
)
def store(message: dict[str, Any]) -> None:
    """Store one message; one whose id is known has no effect."""
    account_id = UUID(message["account_id"])
    with NewSession.begin() as session:
        known = select(Message.id).where(Message.account_id == account_id, Message.message_id == message["message_id"])
        if session.scalar(known) is not None:
            return
        contact = get_or_create(session, Contact, account_id, message["author"]["id"])
        if message["author"].get("name"):
            contact.name = message["author"]["name"]
        conversation = get_or_create(session, Conversation, account_id, message["conversation_id"], lock=True)
        conversation.message_count += 1
        conversation.last_message_at = datetime.now().astimezone()
        session.add(
            Message(
                account_id=account_id,
                message_id=message["message_id"],
                conversation_id=conversation.id,
                contact_id=contact.id,
                sequence=conversation.message_count,
                text=message["text"],
                metadata_=message["metadata"] or None,
                sent_at=datetime.fromisoformat(message["sent_at"]),
            )
        )


def get_or_create(session: Session, kind: type[Row], account_id: UUID, external_id: str, *, lock: bool = False) -> Row:
    """The row with this key; ``lock``: nobody else changes it until the commit."""
    query = select(kind).where(kind.account_id == account_id, kind.external_id == external_id)
    query = query.with_for_update(key_share=True) if lock else query
    row = session.scalar(query)
    if row is not None:
        return row
    try:
        with session.begin_nested():
            row = kind(account_id=account_id, external_id=external_id)
            session.add(row)
        return row
    except IntegrityError:  # another child was first
        return session.scalars(query).one()
