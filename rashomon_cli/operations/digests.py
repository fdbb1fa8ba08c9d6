"""Safetensors files that carry the SHA-256 of all their other bytes, so that an altered byte shows when they come back.

The format has no checksum: a flipped bit loads. Runs have theirs in ``run.json``; what leaves the store has it inside.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.store import tensors

_FIELD = "rashomon_sha256"
_BLANK = b"0" * 64
_PLACE = re.compile(_FIELD.encode() + rb'\\": \\"([0-9a-f]{64})\\"')
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_ALIKE = 0.8  # one letter of eight is another, or gone
_BLOCK = 2**20


def with_digest(arrays: Mapping[str, Array]) -> bytes:
    """Named arrays as a safetensors file with its digest in the header.

    Args:
        arrays: of any shape.

    Returns:
        The content of the file; the same for the same arrays.
    """
    content = tensors.encode(arrays, {_FIELD: _BLANK.decode()})
    return content.replace(_BLANK, hashlib.sha256(content).hexdigest().encode(), 1)


def check(path: Path) -> None:
    """Compare a safetensors file with the digest that it carries; one of another tool's making carries none.

    Args:
        path: a file whose header can be read.

    Raises:
        Refused: if a byte of it was altered.
    """
    with path.open("rb") as stream:
        length = stream.read(8)
        header = stream.read(int.from_bytes(length, "little"))
        place = _PLACE.search(header)
        if place is None:
            with safetensors.safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
            # That of a run's own file is empty.
            carries_none = metadata.get("rashomon") == "{}" or not _had_digest(metadata)
        else:
            digest = hashlib.sha256(length + header[: place.start(1)] + _BLANK + header[place.end(1) :])
            while block := stream.read(_BLOCK):
                digest.update(block)
            carries_none = digest.hexdigest().encode() == place[1]
    if not carries_none:
        raise Refused(f"{path.name} was altered: it does not fit the SHA-256 in its header", "export it again")


def _had_digest(metadata: Mapping[str, str]) -> bool:
    """Whether a digest may have been there: its name is in two places, and one letter of it may be another now."""
    words = (word for entry in metadata.items() for text in entry for word in _WORD.findall(text[:40]))
    return any(difflib.SequenceMatcher(None, word, "rashomon").ratio() >= _ALIKE for word in words)
