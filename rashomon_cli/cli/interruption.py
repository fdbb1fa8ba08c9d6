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
    waiting: list[threading.Timer] = []

    def report(dropped: UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        timer = threading.Timer(_SOON, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.daemon = True
        timer.start()
        waiting.append(timer)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in waiting:
            timer.cancel()
