"""``python -m rashomon_cli`` and the ``rashomon`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from rashomon_cli.cli.app import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
