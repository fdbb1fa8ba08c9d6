"""``rashomon show``."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from rich.text import Text
from rich.tree import Tree

from rashomon_cli.cli import console
from rashomon_cli.cli.metrics import show_metrics
from rashomon_cli.cli.objects import describe
from rashomon_cli.cli.options import Common
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.core.specs import parse_reference
from rashomon_cli.core.text import printable
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.show import Node, lineage, show
from rashomon_cli.operations.symmetries import Found, symmetries
from rashomon_cli.store import Run, Store


class ShowConfig(Config):
    """Arguments of ``show``."""

    run: str = argument("Name, id, or unique prefix of an id.", metavar="NAME")
    lineage: bool = option(False, "Draw what the run came from and what came of it.", flag="--lineage")
    symmetries: bool = option(
        False, "What of a model can be permuted and rescaled without changing its function.", flag="--symmetries"
    )


MODELS = {"config": ShowConfig, "common": Common}
_MORE = ("config", "builder", "data", "versions", "seeds", "notes", "argv", "code", "started", "finished")


def command(config: ShowConfig, common: Common) -> None:
    """Show one run: how it was made, its figures and its files.

    Example: rashomon show preresnet20-cifar10-s1 --lineage
    """
    store = Store.open(common.store)
    run = show(store, parse_reference(config.run).name if config.symmetries else config.run)
    found = None
    if config.symmetries and not common.quiet:
        with console.Bar() as bar:
            found = symmetries(Context(store, progress=bar), config.run)
    if common.json_:
        record = run.record.model_dump(mode="json")
        more: dict[str, Any] = {key: record[key] for key in _MORE} | {"tags": run.label.tags}
        if config.lineage:
            more["lineage"] = [_nested(node) for node in lineage(store, run)]
        more |= {"symmetries": found.as_json()} if found else {}
        console.show_json(describe(run, store) | more)
    elif common.quiet:
        print(run.id)
    elif config.lineage or found:
        if config.lineage:
            console.show_tree([_tree(node) for node in lineage(store, run)])
        if config.lineage and found:
            print()
        if found:
            _show_symmetries(found)
    else:
        _show(run, store.names())


def _show(run: Run, names: dict[str, str]) -> None:
    record = run.record
    show_metrics(f"{run.name}  ({run.kind}, {run.id})", run.metrics)
    print()
    versions = record.versions
    made_on = ", ".join(str(versions[key]) for key in ("device_name", "torch", "rashomon") if versions.get(key))
    lines = {"made by": shlex.join(record.argv) or record.operation, "when": f"{record.started} to {record.finished}"}
    lines |= {"on": made_on} if made_on else {}
    for parent in record.parents:
        lines[f"parent {parent.role}"] = _position(names.get(parent.id, f"{parent.id} (not in this store)"), parent.t)
    lines |= {"tags": ", ".join(run.label.tags)} if run.label.tags else {}
    lines |= {"notes": "; ".join(record.notes)} if record.notes else {}
    lines |= {f"--{key.replace('_', '-')}": str(value) for key, value in record.config.items()}
    console.show_pairs(lines)
    print()
    rows = [[str(run.folder / a.path), f"{a.bytes:,}"] for a in record.artifacts]
    console.show_table(["file", "bytes"], rows, numeric=[1])


def _show_symmetries(found: Found) -> None:
    rows = []
    for group in found.groups:
        parts = ", ".join(
            f"{count} × {what} {size}" if count > 1 else f"{what} {size}"
            for (size, what), count in Counter((part.size, part.what) for part in group.parts).items()
        )
        rows.append(
            [group.name, str(group.size), f"{group.what}: {parts}" if parts else group.what, str(group.rescalings)]
        )
    console.show_table(["group", "number", "what", "rescalings"], rows, numeric=[1, 3])
    print()
    absorbed = f", of which normalisation takes away {found.absorbed:,}" if found.absorbed else ""
    dimensions = {
        "rescalings": f"{found.rescalings:,}{absorbed}",
        "QK": f"{found.qk_dimensions:,} (any invertible matrix between queries and keys: d² a head of d)",
        "OV": f"{found.ov_dimensions:,} (between values and outputs)",
    }
    lines = {"permutations": f"10^{found.log10_permutations:.1f}"}
    lines["continuous dimensions"] = f"{found.continuous_dimensions:,}"
    lines |= {name: words for name, words in dimensions.items() if not words.startswith("0")}
    console.show_pairs(lines | {"not counted": "; ".join(found.not_counted)})


def _position(name: str, t: float | None) -> str:
    return name if t is None else f"{name}@{t:g}"


def _tree(node: Node, above: Tree | None = None) -> Tree:
    name = node.run.name if node.run else printable(f"{node.id} (not in this store)")
    text = Text(f"→ {name}" if node.chosen else name, style="bold" if node.chosen else "")
    if node.run:
        text.append(printable(f"  {node.run.kind}, {node.run.operation}"), style="dim")
    if node.link:
        text.append(printable(f"  as {_position(node.link.role, node.link.t)}"), style="dim")
    if node.repeated:
        text.append("  … as above", style="dim")
    tree = Tree(text) if above is None else above.add(text)
    for child in node.children:
        _tree(child, tree)
    return tree


def _nested(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.run.name if node.run else None,
        "kind": node.run.kind if node.run else None,
        "operation": node.run.operation if node.run else None,
        "role": node.link.role if node.link else None,
        "t": node.link.t if node.link else None,
        "chosen": node.chosen,
        "repeated": node.repeated,
        "children": [_nested(child) for child in node.children],
    }
