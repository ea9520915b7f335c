"""``tollgate reminder``: reminding customers of what is due."""

from __future__ import annotations

from typing import Annotated

import typer

from operator_server.cli.common import (
    CONFIG,
    CommandError,
    ConfigOption,
    JsonOption,
    changed,
    opened,
    out,
    reading,
    says_errors,
    show_json,
    show_rows,
    told,
    working,
)
from operator_server.receivables.letters import check_reminder_templates, compose_reminder
from operator_server.receivables.reminders import find_reminders, letter_of, run_reminders
from signalling.money import format_micros

app = typer.Typer(no_args_is_help=True, help="Reminders of what is due.")


@app.command()
@says_errors()
def run(as_json: JsonOption = False, config: ConfigOption = CONFIG) -> None:
    """Write the reminders that are due today and send them; a second run on the same day writes none.

    Example: tollgate reminder run
    """
    with opened(config) as operator:
        check_reminder_templates(operator.settings)
        changed(operator, "reminder.run", "reminder/all", lambda c: None, {"due": operator.clock.now().date()})
        with working("Reminding"):
            done = run_reminders(operator.engine, operator.settings, operator.clock.now())
    if as_json:
        show_json(
            {"letters": len(done.letters), "levels": done.levels, "fees": done.fees, "sent": done.sent,
             "waiting": done.waiting, "no_email": done.no_email}
        )  # fmt: skip
        return
    levels = ", ".join(f"{count} of level {level}" for level, count in sorted(done.levels.items()))
    out.print(
        f"{len(done.letters)} letters{f' ({levels})' if levels else ''}, {done.fees} with a fee; {done.sent} sent, "
        f"{done.waiting} wait for another try, {done.no_email} have no mail address."
    )


@app.command("list")
@says_errors()
def list_(
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Most rows.")] = 100,
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """List reminders, the newest first.

    Example: tollgate reminder list --account A-1001
    """
    with reading(config) as connection:
        rows = find_reminders(connection, account=account, most=limit)
    found = [
        {
            "reminder": row.id, "account": row.account_id, "level": row.level,
            "total": f"{format_micros(row.total, row.currency)} {row.currency}",
            "debts": ", ".join(each["number"] for each in row.items), "pay by": row.pay_by, "state": row.state,
            "reason": row.reason,
        }
        for row in rows
    ]  # fmt: skip
    show_rows("Reminders", found, as_json, empty="Nobody was reminded.")


@app.command()
@says_errors()
def show(
    reminder: Annotated[str, typer.Argument(help="Id of the reminder.")],
    as_json: JsonOption = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Show a letter as it was sent, or is to be printed for a customer without a mail address.

    Example: tollgate reminder show 0199f3c2-7a10-7c41-a3b5-5d2f3c1e9a77
    """
    with opened(config) as operator, operator.engine.connect() as connection:
        found = [row for row in find_reminders(connection) if row.id == reminder]
        if not found:
            raise CommandError(f"reminder {reminder}: there is none; `tollgate reminder list` shows all")
        message = compose_reminder(operator.settings, letter_of(found[0]))
    subject, text = str(message["Subject"]), str(message.get_content())
    told({"reminder": reminder, "subject": subject, "text": text}, as_json, f"Subject: {subject}\n", text)
