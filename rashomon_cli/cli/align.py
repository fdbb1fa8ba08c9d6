"""``rashomon align``."""

from __future__ import annotations

from rashomon_cli.cli.options import Publishing
from rashomon_cli.cli.publish import publish
from rashomon_cli.core.sweeps import Family, Member
from rashomon_cli.operations.align import AlignConfig, plan
from rashomon_cli.operations.context import Where

MODELS = {"config": AlignConfig, "where": Where, "common": Publishing}


def command(config: AlignConfig, where: Where, common: Publishing) -> None:
    """Move models onto another by the symmetries of their network, without changing what they compute.

    Example: rashomon align a b
    """
    moved = (config.b, *config.others)
    members = [
        Member(
            config.model_copy(update={"b": one, "others": moved[:place] + moved[place + 1 :]}),
            {"b": one.replace("@", "-t")} if len(moved) > 1 else {},
        )
        for place, one in enumerate(moved)
    ]
    publish(common, where, Family(tuple(members)), plan)
