"""``rashomon gc``."""

from __future__ import annotations

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.gc import GcConfig, gc
from rashomon_cli.store import Store

MODELS = {"config": GcConfig, "common": Common}


def command(config: GcConfig, common: Common) -> None:
    """Delete for good what rm removed, stages that no run needs, and what crashes left behind.

    Example: rashomon gc --cache --dry-run
    """
    swept = gc(Store.open(common.store), config)
    dropped, spared = swept.dropped, swept.spared
    total = sum(each.bytes for each in dropped)
    if common.json_:
        found = [{"what": each.what, "name": each.name, "bytes": each.bytes} for each in dropped]
        stay = [{"what": each.what, "name": each.name, "why": each.why, "path": str(each.path)} for each in spared]
        console.show_json({"dropped": found, "bytes": total, "spared": stay, "dry_run": config.dry_run})
    elif common.quiet:
        for each in dropped:
            if each.what.endswith(" run"):
                print(each.paths[0].name)
    else:
        if dropped:
            rows = [[each.what, each.name, f"{each.bytes:,}"] for each in dropped]
            console.show_table(["what", "name", "bytes"], rows, numeric=[2])
        for kept in spared:
            print(f"spared: {kept.what} {kept.name} ({kept.path.name}): {kept.why}")
        print(f"{total:,} bytes {'would be freed' if config.dry_run else 'freed'}")
