"""The application: every command, and how errors become one line, one hint and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback

import typer

from rashomon_cli.cli import compare, connect, console, ls, plot, probe, prune, reindex, rename, show, train
from rashomon_cli.cli.options import bind
from rashomon_cli.core.errors import RashomonError

COMMANDS = {
    "train": train,
    "connect": connect,
    "probe": probe,
    "prune": prune,
    "compare": compare,
    "plot": plot,
    "ls": ls,
    "show": show,
    "rename": rename,
    "reindex": reindex,
}
INTERRUPTED, PIPE_CLOSED = 130, 141


def make_app() -> typer.Typer:
    """The Typer application with one command per module of :data:`COMMANDS`."""
    app = typer.Typer(
        help="Measure the Rashomon set of a trained network: train, connect, probe, prune, compare.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_top)
    for name, module in COMMANDS.items():
        app.command(name, help=module.command.__doc__)(bind(module.command, **module.MODELS))
    return app


def _top(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(version_of("rashomon-cli"))
        raise typer.Exit


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
    try:
        code = make_app()(args=given, standalone_mode=False, prog_name="rashomon")
        sys.stdout.flush()
        # Typer turns Ctrl-C into the code, and a closed pipe into the end of the process.
        return _interrupted() if code == INTERRUPTED else code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _pipe_closed()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return _pipe_closed()
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        with contextlib.suppress(BrokenPipeError):
            return _explain(error)
        return PIPE_CLOSED


def _interrupted() -> int:
    console.show_error("interrupted", "run the same command again to resume")
    return INTERRUPTED


def _pipe_closed() -> int:
    # The reader went away; nothing more may be written, not even at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return PIPE_CLOSED


def _explain(error: Exception) -> int:
    if isinstance(error, RashomonError):
        console.show_error(error.message, error.hint)
        return error.code
    if isinstance(error, typer.TyperException):
        # Without a command the help was shown, and there is nothing to add.
        if error.format_message():
            place = getattr(error, "ctx", None)
            console.show_error(error.format_message(), f"{place.command_path if place else 'rashomon'} --help")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" while writing {error.filename}" if error.filename else ""
        console.show_error(f"no space left{where}", "free some space, then run the same command again to resume")
    elif isinstance(error, OSError):
        console.show_error(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "see --debug")
    elif type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        console.show_error("out of memory", "use fewer --samples, a smaller batch, or --device cpu")
    else:
        console.show_error(f"{type(error).__name__}: {error}", "this is a fault of rashomon; --debug shows the place")
    return 1
