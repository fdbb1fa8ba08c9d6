"""Command-line flags made from the pydantic models that operations define: an option is written once."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rashomon_cli.cli import completion
from rashomon_cli.core.options import Config, build, flag_of, option, shown
from rashomon_cli.core.sweeps import family

_SIMPLE = (str, int, float, bool, Path)


class Common(Config):
    """Options of every command."""

    store: Path | None = option(None, "Folder of the store (or RASHOMON_STORE; default ./rashomon-store).")
    json_: bool = option(False, "Print one JSON object.", flag="--json")
    quiet: bool = option(False, "Print ids only.", flag="-q")
    debug: bool = option(False, "Show the traceback of an error.", flag="--debug")


class Publishing(Common):
    """Options of every command that publishes a run."""

    dry_run: bool = option(False, "Say what is missing and what it costs, then stop.", flag="--dry-run")


FAMILY = "family"
_LISTS = {int: "INT,…|INT-INT", float: "FLOAT,…", typing.Optional[float]: "FLOAT,…", str: "TEXT,…"}  # noqa: UP045


def bind(function: Callable[..., int | None], **models: type[Config]) -> Callable[..., int | None]:
    """Give a function the flags of its models' fields.

    Args:
        function: takes one keyword argument per entry of ``models``, an instance of it.
        models: config classes by parameter name; a field name occurs twice only where both have it from the same class:
            then one flag is for both. The one named ``family`` may be given lists, and the function gets a
            :class:`~rashomon_cli.core.sweeps.Family` of it.

    Returns:
        A function for ``typer.Typer.command`` that validates the flags and calls ``function``.

    Raises:
        ValueError: if two classes have different fields of one name.
    """
    homes: dict[str, list[str]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter, model in models.items():
        for name, field in model.model_fields.items():
            others = homes.setdefault(name, [])
            if any(_origin(models[other], name) is not _origin(model, name) for other in others):
                raise ValueError(f"option {name!r} is in {others[0]} and in {parameter}")
            others.append(parameter)
            if len(others) > 1:
                continue
            parameters.append(_parameter(name, field, lists=parameter == FAMILY))
    parameters.sort(key=lambda p: get_args(p.annotation)[1].__class__.__name__ != "ArgumentInfo")

    @functools.wraps(function)
    def command(**values: Any) -> int | None:
        split: dict[str, dict[str, Any]] = {parameter: {} for parameter in models}
        for name, value in values.items():
            for home in homes[name]:
                split[home][name] = value
        return function(
            **{
                parameter: (family if parameter == FAMILY else build)(models[parameter], given)
                for parameter, given in split.items()
            }
        )

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _origin(model: type[Config], name: str) -> type:
    """The class that a field was written in."""
    return next(each for each in model.__mro__ if name in inspect.get_annotations(each))


def _parameter(name: str, field: FieldInfo, *, lists: bool) -> inspect.Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    lists = lists and "sweep" in extra
    default = None if field.default is PydanticUndefined else field.default
    if field.default_factory is not None:
        default = field.get_default(call_default_factory=True)
    kind = _cli_type(field.annotation)
    kind = kind if not lists else str if default is not None else typing.Optional[str]  # noqa: UP045
    if kind is str and default is not None and not isinstance(default, str):
        default = shown(default)
    info: Any
    if extra.get("argument"):
        metavar = str(extra.get("metavar") or "") or None
        offered = completion.OFFERED.get(str(extra.get("names")))
        info = typer.Argument(help=field.description, metavar=metavar, show_default=False, autocompletion=offered)
        kind = list[str] if lists or get_origin(field.annotation) in (tuple, list) else kind
        if kind == list[str] and not field.is_required():
            default = list(default or ())
    else:
        flag = str(extra.get("flag") or flag_of(name))
        names = [flag, "--quiet"] if flag == "-q" else [flag]
        if kind is bool and default is True:
            names = [f"{flag}/--no-{flag.removeprefix('--')}"]
        info = typer.Option(
            *names,
            help=field.description,
            metavar=_LISTS[_cli_type(field.annotation)] if lists else None,
            show_default=default not in (None, False, ""),
            autocompletion=completion.run_names if extra.get("reference") else None,
        )
    default = inspect.Parameter.empty if field.is_required() else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def _cli_type(annotation: Any) -> Any:
    """The type that Typer parses; what it does not know is a string for pydantic to read."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        inner = _cli_type(members[0]) if len(members) == 1 else str
        return typing.Optional[inner] if len(members) < len(get_args(annotation)) else inner  # noqa: UP045
    if get_origin(annotation) is Literal and all(isinstance(choice, str) for choice in get_args(annotation)):
        return annotation
    return annotation if annotation in _SIMPLE else str
