"""``tollgate doctor``: what is wrong with this operator, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.text import Text

from operator_server.cli.common import CONFIG, ConfigOption, JsonOption, out, says_errors, show_json
from operator_server.doctor import Finding, examine

CODES = {"good": 0, "warning": 1, "bad": 2}
_SIGNS = {"good": ("ok", "green"), "warning": ("look", "yellow"), "bad": ("bad", "bold red")}


@says_errors()
def doctor(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Look at configuration, database, keys, certificates, repository, disk, clock and waiting work; change nothing.

    Ends with 0 where all is good, 1 where something is to be looked at, 2 where something is to be mended now.

    Example: tollgate doctor --json
    """
    findings = examine(config)
    worst = max((CODES[each.level] for each in findings), default=0)
    if as_json:
        show_json({"code": worst, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            _tell(each)
    raise typer.Exit(worst)


def _tell(finding: Finding) -> None:
    sign, style = _SIGNS[finding.level]
    out.print(Text(f"{sign:>4}", style=style), f"{finding.area}: {finding.text}")
    if finding.mend:
        out.print(f"     -> {finding.mend}")
