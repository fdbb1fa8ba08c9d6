"""The JSON documents of a run: ``request.json`` (what was asked), ``run.json`` (what came of it), ``label.json``.

Each carries a schema version, and ends with its own SHA-256 since schema 2. A newer one is refused; older ones are
migrated on read.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import durable, seals
from rashomon_cli.store.names import NAME

SCHEMA = 2
_UNSEALED = 1  # the last schema without a digest

Kind = Literal["model", "path", "simplex", "measurement", "comparison"]


Word = Annotated[str, Field(pattern=NAME)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


D = TypeVar("D", bound=_Document)


class Parent(_Document):
    """A run that another one was made from.

    ``t`` is the position on a path; ``sha256`` the digest of the artifact that was read.
    """

    id: str
    role: str
    t: float | None = None
    sha256: str | None = None


class Artifact(_Document):
    """A file of a run; ``path`` is relative to the run's folder."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+=-]*$")
    sha256: str
    bytes: int = Field(ge=0, lt=2**63)
    kind: str


class Request(_Document):
    """What was asked: its canonical hash is the run's key."""

    schema_version: int = SCHEMA
    operation: str
    config: dict[str, Any]
    parents: list[Parent] = []
    fingerprints: dict[str, str] = {}

    @property
    def key(self) -> str:
        """SHA-256 over operation, options, parents and fingerprints; names, devices and places are not in it."""
        document = self.model_dump(mode="json")
        del document["schema_version"]
        document["parents"] = [{k: parent[k] for k in ("id", "role", "t")} for parent in document["parents"]]
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class RunRecord(_Document):
    """What came of it; written last, so a run exists from the moment that this file does."""

    schema_version: int = SCHEMA
    id: str
    kind: Kind
    operation: str
    key: str
    config: dict[str, Any]
    parents: list[Parent]
    artifacts: list[Artifact]
    metrics: dict[str, Any]
    builder: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    notes: list[str] = []
    argv: list[str] = []
    seeds: dict[str, int] = {}
    code: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    started: str
    finished: str


class Label(_Document):
    """Name and tags, in a file of their own so that renaming touches no hash."""

    schema_version: int = SCHEMA
    name: Word
    tags: list[Word] = []


def clean(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def write(path: Path, document: _Document) -> None:
    """Write a document durably, with its digest at the end.

    Raises:
        OSError: if the disk refuses; the old content is intact then.
    """
    durable.write(path, seals.seal(document.model_dump(mode="json")))


def read(path: Path, model: type[D]) -> D:
    """Read and check a document.

    Args:
        path: the file.
        model: the document's class.

    Returns:
        The document, migrated to the current schema.

    Raises:
        Damaged: if it is no such document, a bit of it was flipped, or it is of a newer schema than this version knows.
        FileNotFoundError: if there is no such file.
    """
    where = f"{path.name} of run {path.parent.name}"
    hint = "restore the file from a copy; rashomon check lists all damage"
    content = durable.read(path)
    sealed = seals.is_sealed(content)
    if sealed and not seals.is_intact(content):
        raise Damaged(f"{where} was altered: it does not fit the SHA-256 at its end", hint)
    document = durable.parse_json(content, where)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise Damaged(f"{where} has schema {version}; this version reads up to {SCHEMA}", "upgrade rashomon-cli")
    if not isinstance(document, dict) or (version != _UNSEALED and not sealed):
        raise Damaged(f"{where} is damaged: it does not end with its SHA-256", hint)
    try:
        return model.model_validate(_migrated(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"{where} is damaged at {place!r}: {first['msg']}", hint) from None


def _migrated(document: dict[str, Any]) -> dict[str, Any]:
    """A document of this or an older schema as one of this schema; schema 1 had the same fields and no digest."""
    if document["schema_version"] != _UNSEALED:
        del document[seals.FIELD]
    return document | {"schema_version": SCHEMA}
