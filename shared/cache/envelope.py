"""How a value stands in Redis: MessagePack, compressed above a size when that gains, with what a reader must know of it.

Never pickle: whoever can write to the cache could run code in every process. Whatever cannot be read (another format, another
type, a torn value) is a miss. Times are the cache server's clock, in microseconds, so that no two hosts' clocks are compared.
"""

from typing import Any, Generic, TypeVar

import lz4.block
import msgspec
from msgspec import Struct

V = TypeVar("V")

FORMAT = 1
COMPRESSED_FROM_BYTES = 512
"""Below it compressing gains little and costs more than the bytes (docs/performance.md)."""
GAIN_MIN = 0.1
"""Compressed only when a tenth is gained: each reader pays for it."""
VALUE_BYTES_MAX = 1 * 2**20
"""A larger value is not kept: it would push out a thousand others, and reading it takes a round trip's time many times over."""


class Envelope(Struct, array_like=True, frozen=True):
    """A value with its times.

    Args:
        format: of this.
        loaded_at: when its load began, microseconds of the server's clock.
        fresh_us: how long it is fresh from then on.
        load_us: how long loading took.
        tags: what invalidates it besides its key.
        packing: 0 plain, 1 lz4, 2 for "there is none".
        body: the value, encoded.
    """

    format: int
    loaded_at: int
    fresh_us: int
    load_us: int
    tags: tuple[str, ...]
    packing: int
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of the value before it was compressed: what a process's copy takes."""
        return int.from_bytes(self.body[:4], "little") if self.packing == LZ4 else len(self.body)


PLAIN, LZ4, ABSENT = 0, 1, 2


class Codec(Generic[V]):
    """Values of one type to bytes and back.

    Args:
        type: what msgspec can encode and decode: numbers, text, bytes, tuples, NamedTuples, Structs of these.
    """

    def __init__(self, type: type[V]) -> None:
        self._encode_value = msgspec.msgpack.Encoder().encode
        self._decode_value = msgspec.msgpack.Decoder(type).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Envelope).decode

    def seal(
        self, value: V | None, *, loaded_at: int, fresh_us: int, load_us: int, tags: tuple[str, ...]
    ) -> tuple[Envelope, bytes]:
        """The envelope of ``value``, and its bytes; None says that there is none."""
        packing, body = (ABSENT, b"") if value is None else packed(self._encode_value(value))
        envelope = Envelope(FORMAT, loaded_at, fresh_us, load_us, tags, packing, body)
        return envelope, self._encode(envelope)

    def open(self, raw: bytes) -> tuple[Envelope, V | None] | None:
        """The envelope and its value, or None for what cannot be read."""
        try:
            envelope = self._decode(raw)
            if envelope.format != FORMAT:
                return None
            return envelope, self._value(envelope)
        except (msgspec.MsgspecError, lz4.block.LZ4BlockError, ValueError, MemoryError):
            return None

    def _value(self, envelope: Envelope) -> V | None:
        if envelope.packing == ABSENT:
            return None
        body = envelope.body
        if envelope.packing == LZ4:
            if envelope.size > VALUE_BYTES_MAX:
                raise ValueError("larger than anything we write")
            body = lz4.block.decompress(body)
        return self._decode_value(body)


def packed(body: bytes) -> tuple[int, Any]:
    """How to keep ``body``, and as what."""
    if len(body) >= COMPRESSED_FROM_BYTES:
        smaller = lz4.block.compress(body)
        if len(smaller) <= len(body) * (1 - GAIN_MIN):
            return LZ4, smaller
    return PLAIN, body
