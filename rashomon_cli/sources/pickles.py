"""What a pickled checkpoint would do, found without doing any of it: its opcodes are read, none is carried out.

``torch.load(weights_only=True)`` runs no code either. This comes before it: the class that is wanted is named, whatever
torch's version, and a pickle that only wants to take time or memory is refused.
"""

from __future__ import annotations

import io
import pickletools
import tarfile
import warnings
import zipfile
from pathlib import Path, PurePosixPath

from rashomon_cli.core.errors import Refused

LARGEST = 2**26
"""Bytes of a pickle that are looked at: 64 MiB describe some hundred thousand tensors."""
_LARGEST_TUPLE = 10_000
_MODULES = {"torch", "torch._utils", "torch._tensor", "torch.nn.parameter", "torch.serialization", "torch.storage"}
_MARK = 0

Item = str | int
"""On the stack: text, or of a tuple the number of parts that it unfolds to and 1 for all else; a mark is 0."""


def check(path: Path, hint: str) -> bool:
    """Refuse a file that holds more than a pickle of numbers, text, containers and tensors.

    Args:
        path: the file.
        hint: for the error.

    Returns:
        Whether it is an archive, as ``torch.save`` makes it since version 1.6.

    Raises:
        Refused: if it wants a class or function, is damaged, or unfolds to too much.
    """
    with path.open("rb") as stream:
        zipped = stream.read(4) == b"PK\x03\x04"
    try:
        for content in [_archived(path, hint)] if zipped else _in_a_row(path, hint):
            _check(content, path.name, hint)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"{path.name} is damaged, or no checkpoint: {error}", hint) from None
    return zipped


def _archived(path: Path, hint: str) -> io.BytesIO:
    """The pickle of an archive.

    Raises:
        Refused: if the archive is code, reaches outside, or unfolds to more than it holds.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [PurePosixPath(member.filename) for member in members]
        if any(name.name == "constants.pkl" for name in names):
            raise Refused(f"{path.name} is a TorchScript archive, which is code", hint)
        if odd := [name for name in names if name.is_absolute() or ".." in name.parts]:
            raise Refused(f"{path.name} has a member {str(odd[0])!r}, outside of the archive", hint)
        inside = [member for member, name in zip(members, names) if name.name == "data.pkl"]
        packed = any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members)
        if len(inside) != 1 or packed or sum(m.file_size for m in members) > path.stat().st_size:
            raise Refused(f"{path.name} is no archive as torch.save makes it", hint)
        if inside[0].file_size > LARGEST:
            raise Refused(f"{path.name} describes its tensors in more than {LARGEST >> 20} MiB", hint)
        return io.BytesIO(archive.read(inside[0]))


def _in_a_row(path: Path, hint: str) -> list[io.BytesIO]:
    """The pickles of a file of torch before 1.6: magic number, version, machine, state dict, keys of the storages.

    Raises:
        Refused: if it is of the tar format of torch before 0.1.10.
    """
    if tarfile.is_tarfile(path):
        raise Refused(f"{path.name} is of the tar format of 2016, which needs code to be run", hint)
    with path.open("rb") as stream:
        return [io.BytesIO(stream.read(LARGEST))] * 5


def _check(stream: io.BytesIO, what: str, hint: str) -> None:
    """Look at one pickle; the stream is left behind it.

    Raises:
        Refused: if it wants a class or function, or its opcodes make no sense.
    """
    stack: list[Item] = []
    memo: dict[int, Item] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(stream):
                wanted = _step(opcode, argument, stack, memo)
                if wanted is not None and not _is_known(*wanted):
                    raise Refused(f"{what} needs {'.'.join(wanted)}, which is not loaded: it could run anything", hint)
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(f"{what} is damaged, or no checkpoint: {error}", hint) from None
    except (IndexError, KeyError):
        raise Refused(f"{what} is damaged, or no checkpoint: it refers to what it does not hold", hint) from None


def _step(
    opcode: pickletools.OpcodeInfo, argument: object, stack: list[Item], memo: dict[int, Item]
) -> tuple[str, str] | None:
    """Follow an opcode's effect on stack and memo; module and name of what it imports.

    Raises:
        ValueError: if a tuple unfolds to too much: to hash one that holds itself many times over takes for ever.
    """
    name = opcode.name
    if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[argument if isinstance(argument, int) else len(memo)] = stack[-1]
        return None
    if name in ("GET", "BINGET", "LONG_BINGET"):
        assert isinstance(argument, int)
        stack.append(memo[argument])
        return None
    taken: list[Item] = []
    for wanted in reversed(opcode.stack_before):
        taken.append(stack.pop())
        while wanted is pickletools.stackslice and taken[-1] != _MARK:
            taken.append(stack.pop())
        if wanted is pickletools.stackslice:
            stack.append(taken.pop())
    if name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
        stack.append(1 + sum(item if isinstance(item, int) else 1 for item in taken))
        if int(stack[-1]) > _LARGEST_TUPLE:
            raise ValueError(f"a tuple unfolds to more than {_LARGEST_TUPLE} parts")
    elif isinstance(argument, str) and name not in ("GLOBAL", "INST"):
        stack.append(argument)
    else:
        stack.extend(_MARK if item is pickletools.markobject else 1 for item in opcode.stack_after)
    if name == "STACK_GLOBAL":
        return str(taken[1]), str(taken[0])
    if name in ("GLOBAL", "INST"):
        module, _, found = str(argument).partition(" ")
        return module, found
    return ("the extension", str(argument)) if name in ("EXT1", "EXT2", "EXT4") else None


def _is_known(module: str, name: str) -> bool:
    """Whether the weights-only reader may decide about a name itself."""
    return (module, name) == ("collections", "OrderedDict") or module in _MODULES
