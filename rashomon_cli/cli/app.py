"""The application: every command, and how errors become one line, one hint and an exit code."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from rashomon_cli.cli import hints, interruption, invocation, streams
from rashomon_cli.core.errors import explained

COMMANDS = {
    "train": "train",
    "import": "import_",
    "export": "export",
    "align": "align",
    "connect": "connect",
    "probe": "probe",
    "prune": "prune",
    "compare": "compare",
    "sweep": "sweep",
    "plot": "plot",
    "ls": "ls",
    "show": "show",
    "rename": "rename",
    "tag": "tag",
    "rm": "rm",
    "restore": "restore",
    "gc": "gc",
    "check": "check",
    "reindex": "reindex",
}
"""The module of ``rashomon_cli.cli`` that each command is in."""
INTERRUPTED, PIPE_CLOSED = 130, 141


def make_app(wanted: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """The Typer application.

    Args:
        wanted: commands that are to work; the others are listed in the help, and their modules not imported.

    Returns:
        The application, with every command of :data:`COMMANDS`.
    """
    app = typer.Typer(
        help="Measure the Rashomon set of a trained network: train, connect, probe, prune, compare.\n\n"
        "Example: rashomon train --model smallcnn --data digits --seed 1-2",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # which takes half of the start-up time, and units in brackets for mark-up
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_top)
    for name, module in COMMANDS.items():
        if name in wanted:
            app.command(name, help=_help(module))(_command(module))
        else:
            app.command(name, help=_help(module))(_unused)
    return app


def _top(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(version_of("rashomon-cli"))
        raise typer.Exit


def _command(module: str) -> Callable[..., int | None]:
    from rashomon_cli.cli.options import bind

    found = importlib.import_module(f"rashomon_cli.cli.{module}")
    return bind(found.command, **found.MODELS)


def _unused() -> None:
    """Stands for a command that this call does not name."""


def _help(module: str) -> str:
    """The docstring of a command, read without importing its module."""
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "command"]
    return ast.get_docstring(functions[0]) or ""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what stands behind ``rashomon``; ``sys.argv`` where None.

    Returns:
        The exit code (see the table in README.md).

    Raises:
        SystemExit: if a library ends the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    invocation.begin(given)
    streams.prepare()
    completing = "_RASHOMON_COMPLETE" in os.environ
    wanted = COMMANDS if completing else [word for word in given if word in COMMANDS][:1]
    try:
        with interruption.kept():
            code = make_app(tuple(wanted))(args=given, standalone_mode=False, prog_name="rashomon")
        sys.stdout.flush()
        # Typer turns Ctrl-C into the code, and a closed pipe into the end of the process.
        return _interrupted(given) if code == INTERRUPTED else code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _pipe_closed()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return _pipe_closed()
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(given)
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        with contextlib.suppress(BrokenPipeError):
            return _explain(error, given)
        return PIPE_CLOSED


def _interrupted(given: list[str]) -> int:
    hints.show_error("interrupted", f"the same command resumes: {shlex.join(['rashomon', *given])}")
    return INTERRUPTED


def _pipe_closed() -> int:
    # The reader went away; nothing more may be written, not even at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return PIPE_CLOSED


def _meant(error: Exception) -> tuple[str, str] | None:
    """A command or option that does not exist, and the one that was probably meant."""
    known: Sequence[str] = getattr(error, "possibilities", None) or ()
    wrong = getattr(error, "option_name", None)
    if (found := re.match("No such command '(.+?)'", str(error))) is not None:
        wrong, known = found[1], tuple(COMMANDS)
    near = difflib.get_close_matches(wrong, known, 1) if wrong else []
    return (wrong, near[0]) if wrong and near else None


def _explain(error: Exception, given: list[str]) -> int:
    if isinstance(error, typer.TyperException):
        # Without a command the help was shown, and there is nothing to add.
        if message := error.format_message().replace("Value error, ", ""):
            place = getattr(error, "ctx", None)
            hint = f"{place.command_path if place else 'rashomon'} --help"
            better = hints.corrected(given, *fix) if (fix := _meant(error)) else None
            hints.show_error(message, better or hint)
        return error.exit_code
    told = explained(error)
    hints.show_error(told.message, hints.with_command(told.hint, told.fix, given, COMMANDS))
    return told.code
