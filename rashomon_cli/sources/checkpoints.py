"""Files of weights of the user's: safetensors, or ``torch.save`` of a state dict; no code of them is ever run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.sources import pickles

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
_NESTED = ("state_dict", "model", "model_state_dict", "net", "module", "weights")
_PREFIXES = ("module.", "_orig_mod.")
_HINT = "save plain weights: safetensors.torch.save_model(module, 'model.safetensors')"  # save_file takes no tied ones


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a file, none of them read yet.

    Attributes:
        shapes: by name.
        read: gives one tensor.
        prefix: what was taken off before every name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    prefix: str = ""

    def unwrapped(self, wanted: Collection[str]) -> Checkpoint:
        """Without what stands before every name: the attribute of a wrapper, such as ``model.`` or ``module.``.

        Args:
            wanted: the names that the module has.

        Returns:
            The same tensors: under names of the module where one prefix before all makes them so; else without those
            of ``DataParallel`` and ``torch.compile``.
        """
        first = next(iter(self.shapes), "")
        ends = [name for name in wanted if first == name or first.endswith(f".{name}")]
        for end in sorted(ends, key=len, reverse=True):
            found = self._without(first.removesuffix(end))
            if found is not None and all(name in wanted for name in found.shapes):
                return found
        found = next((found for prefix in _PREFIXES if (found := self._without(prefix)) is not None), None)
        return found.unwrapped(wanted) if found else self

    def _without(self, prefix: str) -> Checkpoint | None:
        """The same tensors without a prefix; None where a name does not begin with it."""
        if not self.shapes or not all(name.startswith(prefix) for name in self.shapes):
            return None
        shapes = {name.removeprefix(prefix): shape for name, shape in self.shapes.items()}
        return Checkpoint(shapes, lambda name: self.read(prefix + name), self.prefix + prefix)


def check_name(path: Path) -> None:
    """Refuse what is no file of weights by its name.

    Raises:
        UsageError: if it does not exist or ends in something else.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}", "give the path of a .safetensors or .pt file")
    if path.suffix not in (".safetensors", *PICKLED):
        raise UsageError(f"{path.name} is of no known kind", f"a file that ends in .safetensors, {', '.join(PICKLED)}")


def read(path: Path) -> Checkpoint:
    """Read names and shapes of a file of weights; its values are mapped into memory where the format allows.

    Args:
        path: the file.

    Returns:
        Its tensors.

    Raises:
        Refused: if it is damaged, needs code to be run, or holds anything but dense tensors.
    """
    return _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)


def _safetensors(path: Path) -> Checkpoint:
    try:
        file: Any = safetensors.safe_open(path, framework="pt")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise Refused(f"{path.name} is no safetensors file: {error}", _HINT) from None
    return Checkpoint(shapes, file.get_tensor)


def _pickled(path: Path) -> Checkpoint:
    import torch

    zipped = pickles.check(path, _HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        raise Refused(f"{path.name} cannot be read as plain weights: {_reason(error)}", _HINT) from None
    tensors = _state_dict(content, path.name)
    return Checkpoint({name: tuple(value.shape) for name, value in tensors.items()}, tensors.__getitem__)


def _reason(error: Exception) -> str:
    """The part of torch's message that says what is wrong; the rest says how to run the code after all."""
    text = " ".join(str(error).split()).rpartition("WeightsUnpickler error: ")[2]
    wanted = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", text)
    return f"it needs {wanted[1]}" if wanted else (re.split(r"(?<=[^.])\. |\n", text)[0] or type(error).__name__)[:200]


def _state_dict(content: Any, what: str) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one that a training checkpoint holds.

    Raises:
        Refused: if there is none, or it holds anything but dense tensors.
    """
    from torch import Tensor

    content = _inner(content, what)
    if not isinstance(content, dict) or not content:
        raise Refused(f"{what} holds {type(content).__name__}, no state dict", _HINT)
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str):
            raise Refused(f"{what} has an entry whose name is {type(name).__name__}", _HINT)
        if isinstance(value, Tensor):
            tensors[name] = _dense(value.detach(), name, what)
        elif not _is_extra(name):
            raise Refused(f"{name} of {what} is {type(value).__name__}, no tensor", _HINT)
    return tensors


def _inner(content: Any, what: str) -> Any:
    """The state dict in a training checkpoint: under a usual name, or the only one there is; else the content itself.

    Raises:
        Refused: if there are several.
    """
    from torch import Tensor

    if not isinstance(content, dict):
        return content
    if usual := [content[key] for key in _NESTED if isinstance(content.get(key), dict)]:
        return usual[0]
    found = {
        name: value
        for name, value in content.items()
        if isinstance(value, dict)
        and value
        and all(isinstance(tensor, Tensor) for tensor in value.values())
        and not _is_extra(name)
    }
    if len(found) > 1:
        raise Refused(f"{what} holds several state dicts: {', '.join(map(str, found))}", _HINT)
    return next(iter(found.values()), content)


def _is_extra(name: Any) -> bool:
    """Whether an entry of a state dict is what a module of the user's keeps besides tensors."""
    return isinstance(name, str) and name.rpartition(".")[2] == "_extra_state"


def _dense(value: Tensor, name: str, what: str) -> Tensor:
    """A tensor whose elements lie in the file.

    Raises:
        Refused: if it is sparse or quantised, lies nowhere, or repeats a smaller storage.
    """
    import torch

    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        kind = "quantised" if value.is_quantized else f"{value.layout}, {value.device.type}"
        raise Refused(f"{name} of {what} is no dense tensor ({kind})", _HINT)
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise Refused(f"{name} of {what} is {tuple(value.shape)}, more than the file holds of it", _HINT)
    return value
