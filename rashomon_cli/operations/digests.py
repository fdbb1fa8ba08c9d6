"""Safetensors files that carry the SHA-256 of all their other bytes, so that an altered byte shows when they come back.

The format has no checksum: a flipped bit loads. Runs have theirs in ``run.json``; what leaves the store has it inside.
"""

from __future__ import annotations

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
_HEX = re.compile(rb"[0-9a-f]{64}")  # what is left of a digest whose name was altered
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
                other = (file.metadata() or {}).get("rashomon", "{}") == "{}"
            carries_none = other and _HEX.search(header) is None
        else:
            digest = hashlib.sha256(length + header[: place.start(1)] + _BLANK + header[place.end(1) :])
            while block := stream.read(_BLOCK):
                digest.update(block)
            carries_none = digest.hexdigest().encode() == place[1]
    if not carries_none:
        raise Refused(f"{path.name} was altered: it does not fit the SHA-256 in its header", "export it again")
