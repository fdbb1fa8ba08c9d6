"""``rashomon sweep``."""

from __future__ import annotations

import shlex

from rashomon_cli.cli import console
from rashomon_cli.cli.invocation import command_line
from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import show_costs, show_run, tell_name
from rashomon_cli.operations.context import Context, Where
from rashomon_cli.operations.sweep import SweepConfig, Swept, carry_out, dry_run

MODELS = {"config": SweepConfig, "where": Where, "common": Publishing}


def command(config: SweepConfig, where: Where, common: Publishing) -> None:
    """Measure how barriers between models change with the width of their network.

    Example: rashomon sweep --model 'mlp(width=64)' --data digits --widths 1/4,1,4 --pairs 3
    """
    with console.Bar(common.quiet) as bar:
        argv = command_line()
        context = Context.open(common.store, create=True, where=where, progress=bar, argv=argv)
        if common.dry_run:
            costs = dry_run(context, config)
        else:
            swept = carry_out(context, config)
    if common.dry_run:
        show_costs(common, costs)
        return
    if swept.run is not None:
        tell_name(bar, where, swept.run)
        show_run(common, swept.run, context.store)
    _tell(swept, argv)


def _tell(swept: Swept, argv: list[str]) -> None:
    """Members that failed are an error, whatever came of the others.

    Raises:
        PartlyDone: if there are any; with the first one's exit code where all failed.
    """
    error = swept.error(shlex.join(argv))
    if error is not None:
        raise error
