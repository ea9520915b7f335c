"""``tollgate ledger``."""

from __future__ import annotations

import typer

from charging.ledger.verify import verify as verify_ledger
from operator_server.balances.proof import verify_balances
from operator_server.billing.proof import verify_billing
from operator_server.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    out,
    reading,
    says_errors,
    show_json,
    working,
)
from operator_server.receivables.proof import verify_receivables
from operator_server.visited.money import verify_roaming

app = typer.Typer(no_args_is_help=True, help="The double-entry ledger.")


@app.command()
@says_errors()
def verify(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Prove the ledger: sums, balances, reservations, seals, invoices, charges, open items; exit 1 on a fault.

    Example: tollgate ledger verify
    """
    with reading(config) as connection, working("Proving"):
        findings = [
            *verify_ledger(connection),
            *verify_billing(connection),
            *verify_receivables(connection),
            *verify_balances(connection),
            *verify_roaming(connection),
        ]
    if as_json:
        show_json([{"what": finding.what, "where": finding.where} for finding in findings])
    for finding in findings if not as_json else ():
        out.print(f"{finding.where}: {finding.what}")
    if findings:
        raise fail(f"{len(findings)} finding(s)")
    if not as_json:
        out.print("The ledger is proven: sums, balances, reservations, seals, invoices and charges agree.")
