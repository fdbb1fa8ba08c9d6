"""Ways to damage a file: bits, bytes, ends, lengths and headers, from a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

_NUMBERS = (0, 1, 7, 8, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)

Mutation = Callable[[bytearray, random.Random], None]


def _flip_bit(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _flip_bit_early(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(min(len(content), 512))] ^= 1 << chance.randrange(8)


def _set_bytes(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 20)):
        content[chance.randrange(len(content))] = chance.randrange(256)


def _truncate(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def _append(content: bytearray, chance: random.Random) -> None:
    content += chance.randbytes(chance.randint(1, 64))


def _insert(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = chance.randbytes(chance.randint(1, 16))


def _cut_out(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randint(1, 64)]


def _zeros(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + 64] = bytes(len(content[at : at + 64]))


def _swap(content: bytearray, chance: random.Random) -> None:
    size = chance.choice((1, 4, 16, 64))
    one, two = sorted(chance.randrange(max(len(content) - size, 1)) for _ in range(2))
    content[one : one + size], content[two : two + size] = content[two : two + size], content[one : one + size]


def _length(content: bytearray, chance: random.Random) -> None:
    """A number of 8 bytes somewhere: what a length or an offset would be."""
    at = chance.choice((0, chance.randrange(0, max(len(content) - 8, 1)) & ~7))
    (number,) = struct.unpack_from("<Q", content.ljust(at + 8, b"\0"), at)
    other = chance.choice((*_NUMBERS, (number + 1) % 2**64, (number - 1) % 2**64, (number + 8) % 2**64))
    content[at : at + 8] = struct.pack("<Q", other)


def _digit(content: bytearray, chance: random.Random) -> None:
    """Another digit in a text, such as a shape or an offset in a safetensors header."""
    places = [at for at, byte in enumerate(content[:4096]) if 48 <= byte <= 57]
    if places:
        content[chance.choice(places)] = chance.randrange(48, 58)


def _word(content: bytearray, chance: random.Random) -> None:
    """A word of a safetensors header by another one, of whatever length; the length before it is left alone or fits."""
    end = 8 + struct.unpack_from("<Q", content.ljust(8, b"\0"))[0]
    if end > len(content):
        return
    header = bytes(content[8:end])
    old, new = chance.choice(
        [
            (b"F32", b"F16"),
            (b"F32", b"I32"),
            (b"F32", b"F64"),
            (b"weight", b"weighs"),
            (b"weight", b"bias"),
            (b"bias", b"weight"),
            (b"[", b"[["),
            (b"[", b"[1,"),
            (b"}", b"}}"),
            (b'"', b"'"),
            (b":", b": "),
            (b"data_offsets", b"data_offset"),
            (b"shape", b"shape_"),
            (b"__metadata__", b"__metadata_"),
            (b"rashomon", b"rashomno"),
            (b"0", b"9" * 400),
            (b",", b"," + b" " * 300),
        ]
    )
    header = header.replace(old, new, chance.choice((1, 1, -1)))
    length = len(header) if chance.random() < 0.7 else end - 8
    content[:end] = struct.pack("<Q", length) + header


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bit,
    _flip_bit,
    _flip_bit_early,
    _set_bytes,
    _truncate,
    _append,
    _insert,
    _cut_out,
    _zeros,
    _swap,
    _length,
    _digit,
    _word,
)


def mutated(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Damaged versions of a file, none of them equal to it, each by one to three of :data:`MUTATIONS`.

    Args:
        content: of the file.
        count: how many.
        seed: the same seed gives the same files.

    Yields:
        Contents.
    """
    chance = random.Random(seed)
    while count:
        found = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if found:
                chance.choice(MUTATIONS)(found, chance)
        if bytes(found) != content:
            count -= 1
            yield bytes(found)
