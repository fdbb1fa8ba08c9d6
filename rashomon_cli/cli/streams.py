"""Standard output and error of terminals that know less than Unicode: ASCII stand-ins instead of an error."""

from __future__ import annotations

import codecs
import encodings.ascii
import functools
import io
import sys

_STAND_INS = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "−": "-",
        "±": "+-",
        "×": "x",
        "→": "->",
        "…": "...",
        "≤": "<=",
        "≥": ">=",
        "‖": "||",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "θ": "theta",
        "λ": "lambda",
        "ε": "epsilon",
        "μ": "mu",
    }
)
_HANDLER = "rashomon-stand-in"
_ASCII = "rashomon_ascii"  # Click takes a stream of the encoding "ascii" for a mistake, and writes UTF-8 to it


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    r"""What stands for characters that an encoding does not have: ``+-`` for ``±``, ``\u00e9`` for others.

    Raises:
        UnicodeError: if something else than an encoding failed.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_STAND_INS)
    return "".join(c if c.isascii() else _escaped(c) for c in text), error.end


def _escaped(character: str) -> str:
    """A character as JSON writes it, so that an escaped document is one still."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under a name that only we know."""
    if name != _ASCII:
        return None
    found = encodings.ascii.getregentry()
    return codecs.CodecInfo(
        name=_ASCII,
        encode=found.encode,
        decode=found.decode,
        incrementalencoder=found.incrementalencoder,
        incrementaldecoder=found.incrementaldecoder,
    )


@functools.cache
def _register() -> None:
    codecs.register_error(_HANDLER, _stand_in)
    codecs.register(_ascii)


def prepare() -> None:
    """Let stdout and stderr replace what their encoding does not have."""
    _register()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            plain = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_ASCII if plain else None, errors=_HANDLER)


def knows(text: str) -> bool:
    """Whether stdout can show a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
