"""Models of other packages by name: ``torchvision:resnet18``, ``timm:vit_tiny_patch16_224(img_size=32)``.

Both are random until ``weights`` (torchvision) or ``pretrained=True`` (timm) is asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import typing
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from rashomon_cli.core.errors import UsageError, no_such

CALLS = {"torchvision": ("torchvision.models", "get_model"), "timm": ("timm", "create_model")}


def split(target: str) -> tuple[str, str] | None:
    """Package and model name of ``torchvision:NAME`` or ``timm:NAME``; None for any other target."""
    package, colon, name = target.partition(":")
    return (package, name) if colon and package in CALLS else None


def installed(package: str) -> str:
    """Name and version of a package of models, found without importing it: ``timm 1.0.31``.

    Raises:
        UsageError: if it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package}: models need the package {package}", f"pip install 'rashomon-cli[{package}]'")
    return f"{package} {version(package)}"


def factory(package: str, name: str) -> Callable[..., Any]:
    """The function that makes a model; imports the package.

    Raises:
        UsageError: if the package has no such model.
    """
    module = importlib.import_module(CALLS[package][0])
    names: list[str] = module.list_models()
    if name.partition(".")[0] not in names:  # timm's names may have the tag of their weights behind a dot
        no_such(f"{package} model", name, names, f"{CALLS[package][0]}.list_models() lists them")
    return functools.partial(getattr(module, CALLS[package][1]), name)


def defaults(
    package: str, name: str, given: Mapping[str, Any], input_shape: tuple[int, ...], num_classes: int
) -> dict[str, Any]:
    """Arguments that follow from the data.

    Args:
        package: of the model.
        name: of the model.
        given: the user's own arguments.
        input_shape: shape of one input; (channels, height, width) for images.
        num_classes: number of outputs.

    Returns:
        The number of classes, and of images their channels and size where the model takes them; nothing where the
        user asked for torchvision's weights, which fix both.
    """
    if package == "torchvision" and given.get("weights") is not None:
        return {}
    found: dict[str, Any] = {"num_classes": num_classes}
    if len(input_shape) != 3:
        return found
    channels, height, width = input_shape
    if package == "timm":
        from timm.models import get_pretrained_cfg

        found["in_chans"] = channels
        settings = get_pretrained_cfg(name, allow_unregistered=True)
        # timm's own mark of the models whose size is fixed by an argument.
        return found | ({"img_size": (height, width)} if settings is not None and settings.fixed_input_size else {})
    from torchvision.models import get_model_builder

    made = typing.get_type_hints(get_model_builder(name)).get("return")
    known = inspect.signature(made).parameters if isinstance(made, type) else {}
    if "image_size" in known and height == width:
        found["image_size"] = height
    if "input_size" in known:
        found["input_size"] = (height, width)
    return found
