"""How values stand in Redis: what comes back whole, and what is a miss."""

import random

import lz4.block
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cache import keys
from shared.cache.envelope import COMPRESSED_FROM_BYTES, LZ4, PLAIN, VALUE_BYTES_MAX, Codec, Envelope, packed
from shared.cache.kind import Kind
from shared.store.channels import ChannelRecord
from tests.caches import KIND, Value

CODEC = Codec(Value)
TIMES = {"loaded_at": 1_700_000_000_000_000, "fresh_us": 60_000_000, "load_us": 1_500, "tags": ("account:1",)}


@given(st.text(max_size=2_000), st.integers(-(2**60), 2**60))
def test_a_value_comes_back_as_it_was(text: str, number: int) -> None:
    value = Value(text, number)
    envelope, raw = CODEC.seal(value, **TIMES)
    assert CODEC.open(raw) == (envelope, value)


def test_that_there_is_none_comes_back_as_none() -> None:
    envelope, raw = CODEC.seal(None, **TIMES)
    assert CODEC.open(raw) == (envelope, None)


def test_a_channel_with_its_secrets_comes_back() -> None:
    codec, record = Codec(ChannelRecord), ChannelRecord("c", "a", "github", ("one", "two"))
    opened = codec.open(codec.seal(record, **TIMES)[1])
    assert opened
    assert opened[1] == record


@given(st.binary(max_size=300))
def test_garbage_is_a_miss(raw: bytes) -> None:
    assert CODEC.open(raw) is None or isinstance(CODEC.open(raw), tuple)


def test_a_torn_value_another_type_and_another_format_are_misses() -> None:
    envelope, raw = CODEC.seal(Value("x" * 5_000), **TIMES)
    assert envelope.packing == LZ4
    assert all(CODEC.open(raw[:length]) is None for length in range(0, len(raw), 7))
    assert Codec(ChannelRecord).open(raw) is None
    encode = msgspec.msgpack.encode
    assert CODEC.open(encode(msgspec.structs.replace(envelope, format=2))) is None
    assert CODEC.open(encode(msgspec.structs.replace(envelope, body=envelope.body[:-9]))) is None


def test_a_value_that_claims_to_be_enormous_is_a_miss_and_costs_no_memory() -> None:
    bomb = (2**31 - 1).to_bytes(4, "little") + lz4.block.compress(b"x")[4:]
    assert CODEC.open(msgspec.msgpack.encode(Envelope(1, 0, 0, 0, (), LZ4, bomb))) is None
    assert VALUE_BYTES_MAX < 2**31 - 1


@pytest.mark.parametrize(
    ("body", "packing"),
    [
        (b"a" * (COMPRESSED_FROM_BYTES - 1), PLAIN),
        (b"a" * COMPRESSED_FROM_BYTES, LZ4),
        (random.Random(1).randbytes(2_000), PLAIN),
    ],
)
def test_only_what_is_large_and_gains_is_compressed(body: bytes, packing: int) -> None:
    assert packed(body)[0] == packing


def test_a_value_and_its_lease_are_in_one_slot_whatever_a_sender_calls_his_key() -> None:
    def slot(name: str) -> str:
        return name.partition("{")[2].partition("}")[0]

    for key in ("plain", "a}b", "}{", "{}", "a{b}c"):
        name = keys.value(KIND, key)
        assert slot(name) == slot(keys.lease(name)) != ""


def test_versions_do_not_see_each_other_and_a_change_concerns_the_neighbours_too() -> None:
    old, new = (Kind("k", version, 1, 1, 1, 1) for version in (1, 2))
    assert keys.value(old, "a") != keys.value(new, "a")
    assert {keys.value(old, "a"), keys.value(new, "a")} <= set(keys.values_of_all_versions(old, "a"))
    assert {keys.value(old, "a"), keys.value(new, "a")} <= set(keys.values_of_all_versions(new, "a"))
