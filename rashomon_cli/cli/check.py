"""``rashomon check``."""

from __future__ import annotations

from dataclasses import asdict

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.core.errors import Damaged
from rashomon_cli.operations.check import CheckConfig, check
from rashomon_cli.store import Store
from rashomon_cli.store.findings import Report

MODELS = {"config": CheckConfig, "common": Common}


def command(config: CheckConfig, common: Common) -> int:
    """Look for files that are missing, damaged or out of place, and say what to do.

    Example: rashomon check --read-data
    """
    store = Store.open(common.store, mend=True)
    with console.Bar(common.quiet) as bar:
        report = check(store, config, bar)
    if common.json_:
        interrupted = [{"id": run, "name": name} for run, name in report.interrupted.items()]
        findings = [asdict(finding) for finding in report.findings]
        told = {"runs": report.runs, "findings": findings, "interrupted": interrupted, "read_data": report.read_data}
        console.show_json(told)
    elif common.quiet:
        for run in dict.fromkeys(finding.run for finding in report.findings if finding.run):
            print(run)
    else:
        _show(report)
    return Damaged.code if report.findings else 0


def _show(report: Report) -> None:
    for finding in report.findings:
        where = f"{finding.name} ({finding.run})" if finding.run else "store"
        print(f"{where}: {finding.file} {finding.problem}")
        print(f"  {finding.remedy}")
    for run, name in report.interrupted.items():
        print(f"{name} ({run}): interrupted; the same command resumes it, rashomon gc --interrupted deletes it")
    runs = "1 run" if report.runs == 1 else f"{report.runs} runs"
    faults = {0: "no fault", 1: "1 fault"}.get(len(report.findings), f"{len(report.findings)} faults")
    read = "contents read" if report.read_data else "contents not read; --read-data does"
    print(f"{runs}, {faults} ({read})")
