"""Ctrl-C that is not lost.

Python raises :exc:`KeyboardInterrupt` wherever the main thread happens to be. Out of a finaliser, or out of the
callback of a weak reference, nothing can be raised: the interpreter reports the exception and drops it, and the
command would go on as if nobody had asked (seen in about one of 100 interrupted trainings).
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.05  # seconds, after which the main thread has left what could not raise


@contextmanager
def kept() -> Iterator[None]:
    """Within the block, an interruption that the interpreter dropped comes again, until it is raised."""
    before = sys.unraisablehook
    waiting: threading.Timer | None = None

    def report(dropped: UnraisableHookArgs) -> None:
        nonlocal waiting
        if dropped.exc_type is None or not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
        elif waiting is None or not waiting.is_alive():  # two that were dropped come again as one
            waiting = threading.Timer(_SOON, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
            waiting.daemon = True
            waiting.start()

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
        if waiting is not None:
            waiting.cancel()
