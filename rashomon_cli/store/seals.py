"""Files that end with the SHA-256 of every byte before, so that each flipped bit shows."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import durable

FIELD = "sha256"
_TAIL = f',\n "{FIELD}": "%s"\n}}\n'
_LENGTH = len(_TAIL % hashlib.sha256().hexdigest())
_BYTES = hashlib.sha256().digest_size
_BLOCK = 2**20
_FORM = re.compile((re.escape(_TAIL).replace("%s", "[0-9a-fA-F]{64}")).encode())


def seal(document: Mapping[str, Any]) -> bytes:
    """A document as text that ends with its digest.

    Args:
        document: JSON values, at least one.

    Returns:
        The content of a file.
    """
    body = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}").encode()
    return body + _tail(body)


def is_sealed(content: bytes) -> bool:
    """Whether a file ends with a digest, right or wrong."""
    return _FORM.fullmatch(content[-_LENGTH:]) is not None


def is_intact(content: bytes) -> bool:
    """Whether a file ends with the digest of what is before."""
    return content[-_LENGTH:] == _tail(content[:-_LENGTH])


def _tail(body: bytes) -> bytes:
    return (_TAIL % hashlib.sha256(body).hexdigest()).encode()


def append_digest(path: Path) -> None:
    """Put the SHA-256 of a file behind it, as 32 bytes.

    Raises:
        OSError: if the disk refuses.
    """
    digest = bytes.fromhex(durable.sha256(path))
    with path.open("ab") as stream:
        stream.write(digest)


def check_digest(path: Path) -> None:
    """Compare a file with the 32 bytes at its end.

    Raises:
        Damaged: if it was altered or truncated.
        FileNotFoundError: if it does not exist.
    """
    found = hashlib.sha256()
    with durable.opened(path) as stream:
        left = os.fstat(stream.fileno()).st_size - _BYTES
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            found.update(block)
            left -= len(block)
        if left or stream.read() != found.digest():
            raise Damaged(f"{path.name} of {path.parent.name} was altered: it does not fit the SHA-256 at its end")
