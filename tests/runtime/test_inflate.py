"""The decoder of deflate: what zlib writes comes back, and damaged data is refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercel import _core
from tiercel.errors import Fail

STRATEGIES = [
    zlib.Z_DEFAULT_STRATEGY,
    zlib.Z_FILTERED,
    zlib.Z_HUFFMAN_ONLY,
    zlib.Z_RLE,
    zlib.Z_FIXED,
]
TEXT = b"mad.lo.s64 %rd1, %rd2, %rd3, %rd4;\n" * 40 + bytes(range(256)) * 3 + bytes(300)


def deflate(data: bytes, level: int = 9, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Raw deflate of zlib."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("data", [b"", b"a", TEXT, TEXT * 60, bytes(100_000)], ids=len)
def test_round_trip(data: bytes, level: int, strategy: int) -> None:
    assert _core.inflate(deflate(data, level, strategy), len(data)) == data


@given(st.lists(st.binary(max_size=40), max_size=40), st.sampled_from(STRATEGIES))
def test_round_trip_of_any_bytes(pieces: list[bytes], strategy: int) -> None:
    data = b"".join(pieces + pieces[::2])
    assert _core.inflate(deflate(data, 9, strategy), len(data)) == data


def test_blocks_of_several_kinds() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(TEXT) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += packer.compress(b"end") + packer.flush()
    assert _core.inflate(packed, len(TEXT) + 3) == TEXT + b"end"


@pytest.mark.parametrize("size", [0, len(TEXT) - 1, len(TEXT) + 1])
def test_other_size(size: int) -> None:
    with pytest.raises(Fail, match="compressed data is damaged: it stands for"):
        _core.inflate(deflate(TEXT), size)


def test_every_shorter_text_is_refused() -> None:
    packed = deflate(TEXT)
    for end in range(len(packed)):
        with pytest.raises(Fail, match="damaged"):
            _core.inflate(packed[:end], len(TEXT))


def test_bytes_behind_the_end() -> None:
    with pytest.raises(Fail, match="bytes behind its end"):
        _core.inflate(deflate(TEXT) + b"\0", len(TEXT))


@pytest.mark.parametrize(
    "data,message",
    [
        ("07", "a block of no kind"),
        ("01 0100 feff 00 00", "bytes behind"),
        ("01 0100 ffff 00", "the length of a stored block"),
        ("01 ffff 0000 00", "ends early"),
        ("03 02", "a distance before its beginning|ends early|no meaning"),
        ("05 e0 81 08", "ends early|damaged"),
        ("fd ff", "too many symbols|ends early"),
    ],
)
def test_damage_is_named(data: str, message: str) -> None:
    with pytest.raises(Fail, match=message):
        _core.inflate(bytes.fromhex(data), 1)


@settings(max_examples=400)
@given(st.data())
def test_damaged_bytes_give_an_error_or_that_many_bytes(data: st.DataObject) -> None:
    packed = bytearray(deflate(TEXT, data.draw(st.sampled_from([1, 9]))))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(_core.inflate(bytes(packed), len(TEXT))) == len(TEXT)
    except Fail as error:
        assert "compressed data is damaged: " in str(error)


@given(st.binary(max_size=80), st.integers(0, 300))
def test_any_bytes(data: bytes, size: int) -> None:
    try:
        assert len(_core.inflate(data, size)) == size
    except Fail as error:
        assert "compressed data is damaged: " in str(error)
