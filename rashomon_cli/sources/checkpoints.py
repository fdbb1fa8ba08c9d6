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
_NESTED = ("state_dict", "model", "model_state_dict", "net")
_PREFIXES = ("module.", "_orig_mod.")
_HINT = "save plain weights: safetensors.torch.save_file(module.state_dict(), 'model.safetensors')"


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a file, none of them read yet.

    Attributes:
        shapes: by name.
        read: gives one tensor.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]

    def unwrapped(self, wanted: Collection[str]) -> Checkpoint:
        """Without the prefixes that ``DataParallel`` and ``torch.compile`` put before every name.

        Args:
            wanted: the names that the module has.

        Returns:
            The same tensors.
        """

        def on_all(names: Collection[str]) -> list[str]:
            return [prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in names)]

        prefix = next((found for found in on_all(self.shapes) if found not in on_all(wanted)), None)
        if prefix is None or not self.shapes:
            return self
        shapes = {name.removeprefix(prefix): shape for name, shape in self.shapes.items()}
        return Checkpoint(shapes, lambda name: self.read(prefix + name)).unwrapped(wanted)


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

    if isinstance(content, dict):
        content = next((content[key] for key in _NESTED if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        raise Refused(f"{what} holds {type(content).__name__}, no state dict", _HINT)
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str):
            raise Refused(f"{what} has an entry whose name is {type(name).__name__}", _HINT)
        if isinstance(value, Tensor):
            tensors[name] = _dense(value.detach(), name, what)
        elif name.rpartition(".")[2] != "_extra_state":
            raise Refused(f"{name} of {what} is {type(value).__name__}, no tensor", _HINT)
    return tensors


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
