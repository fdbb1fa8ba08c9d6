"""Tensors of a file in the types that a module has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Cast:
    """Gives tensors of a file the types that the module has for them, and says where that changed them.

    Args:
        what: the file, for errors.
        like: the module's tensors by name.
    """

    def __init__(self, what: str, like: Mapping[str, Tensor]) -> None:
        self._what = what
        self._like = like
        self._rounded: dict[tuple[torch.dtype, torch.dtype], int] = {}
        self._exact: dict[tuple[torch.dtype, torch.dtype], int] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """A tensor with the type of the module's.

        Raises:
            Refused: if it holds what is not finite, or what the type cannot hold.
        """
        import torch

        like = self._like[name]
        kinds = [t.is_complex() * 2 + t.is_floating_point() for t in (value, like)]
        found = value.to(device=like.device, dtype=like.dtype, copy=True) if kinds[0] == kinds[1] else None
        if found is None or (not kinds[0] and not torch.equal(found.to(value.dtype).cpu(), value)):
            raise Refused(
                f"{name} of {self._what} holds {_word(value.dtype)}, the module {_word(like.dtype)}",
                "save the module's own state dict",
            )
        odd = ~torch.isfinite(found)
        if bool(odd.any()) and not isinstance(like, torch.nn.Parameter):
            # A buffer may hold infinities, as the mask of an attention does; none that come of the cast.
            odd &= ~torch.isinf(value).to(odd.device)
        if bool(odd.any()):
            raise Refused(
                f"{name} of {self._what} holds values that are not finite", "import a training that went well"
            )
        if value.dtype != like.dtype:
            same = kinds[1] and torch.equal(found.to(value.dtype).cpu(), value)
            counts = self._exact if same or not kinds[1] else self._rounded
            counts[value.dtype, like.dtype] = counts.get((value.dtype, like.dtype), 0) + 1
        return found

    @property
    def notes(self) -> list[str]:
        """What was cast, in words."""
        return [
            f"{count} tensors of {_word(one)} became {_word(two)}, {words}"
            for counts, words in ((self._exact, "without loss"), (self._rounded, "which rounds them"))
            for (one, two), count in counts.items()
        ]


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
