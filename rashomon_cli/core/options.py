"""Where an option is written once: a frozen pydantic model gives its name, default, help, unit and bounds.

The command line's flags, the record in ``request.json`` and the Python API all come from these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticUndefined

from rashomon_cli.core.errors import UsageError

C = TypeVar("C", bound=BaseModel)


def _id_of(value: Any) -> Any:
    return getattr(value, "id", value)


RunName = Annotated[str, BeforeValidator(_id_of)]
"""A run: its name, its id or a prefix of it, ``NAME@t``; from Python also a :class:`~rashomon_cli.store.run.Run`."""


class Config(BaseModel):
    """Base of every operation's options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def record(self) -> dict[str, Any]:
        """The options as JSON values, for ``request.json`` and the run's key.

        References to runs are left out: the run's parents stand for them, and names may change. So are options that
        came later, where they have their default: requests that were made before stay the same.
        """
        fields = type(self).model_fields
        defaults = {n for n in self._marked("later") if getattr(self, n) == fields[n].default}
        return self.model_dump(mode="json", exclude=self._marked("reference") | defaults)

    @classmethod
    def _marked(cls, mark: str) -> set[str]:
        fields = cls.model_fields.items()
        return {n for n, f in fields if isinstance(f.json_schema_extra, dict) and f.json_schema_extra.get(mark)}


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    unit: str | None = None,
    reference: bool = False,
    sweep: str | None = None,
    later: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a :class:`Config` that becomes a command-line flag.

    Args:
        default: the default value.
        help: one line, shown by ``--help``.
        flag: the flag, where it is not the field's name with dashes.
        unit: unit of the value, shown in the help.
        reference: whether the value names a run.
        sweep: where a list of values makes a family: what stands before the value in a member's name, such as ``s``.
        later: whether stores hold requests that were made before this option existed.
        bounds: pydantic's ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ``pattern``.

    Returns:
        A pydantic field.
    """
    text = f"{help} [{unit}]" if unit else help
    extra: dict[str, Any] = ({"flag": flag} if flag else {}) | ({"reference": True} if reference else {})
    extra |= ({} if sweep is None else {"sweep": sweep}) | ({"later": True} if later else {})
    return Field(default, description=text, json_schema_extra=extra or None, **bounds)


def argument(
    help: str,
    *,
    default: Any = ...,
    metavar: str | None = None,
    sweep: str | None = None,
    names: Literal["runs", "trash"] | None = "runs",
    **bounds: Any,
) -> Any:
    """A field of a :class:`Config` that becomes a positional argument and names one or more runs.

    Args:
        help: one line, shown by ``--help``.
        default: the default value; required where it is left out.
        metavar: how the argument is written in the help.
        sweep: where several runs make a family: what stands before the run's name in a member's name.
        names: whose names the shell offers.
        bounds: pydantic's bounds.

    Returns:
        A pydantic field.
    """
    extra: dict[str, Any] = {"argument": True, "reference": True, "metavar": metavar or "", "names": names}
    extra |= {} if sweep is None else {"sweep": sweep}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def build(model: type[C], values: dict[str, Any]) -> C:
    """Make a config and turn pydantic's complaint into one line.

    Args:
        model: the config class.
        values: field names and values.

    Returns:
        The validated config.

    Raises:
        UsageError: naming the first field that is wrong, its value, and what is allowed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else model.__name__
        found = model.model_fields.get(name)
        flag = flag_of(name, found.json_schema_extra if found else None)
        message = first["msg"].removeprefix("Value error, ")
        default = (
            "" if found is None or found.default in (None, PydanticUndefined) else f"{flag} {shown(found.default)}: "
        )
        hint = f"{default}{found.description}" if found is not None and found.description else None
        raise UsageError(f"{flag} = {_written(values.get(name))}: {message[0].lower()}{message[1:]}", hint) from None


def _written(value: Any) -> str:
    """A wrong value as the user wrote it: a number bare, a word in quotes."""
    try:
        float(value)
    except (TypeError, ValueError):
        return repr(value)
    return str(value)


def shown(default: Any) -> str:
    """A default as it is written on the command line."""
    return ",".join(map(str, default)) if isinstance(default, tuple | list) else str(default)


def flag_of(name: str, extra: Any = None) -> str:
    """The command-line flag of a field: ``--weight-decay`` of ``weight_decay``."""
    if isinstance(extra, dict):
        if extra.get("argument"):
            return name.upper()
        if extra.get("flag"):
            return str(extra["flag"]).split("/")[0]
    return "--" + name.replace("_", "-")
