"""``tollgate check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charging.billing.tax import TaxError, load_taxes
from operator_server.balances.mails import check_balance_templates
from operator_server.cli.common import CONFIG, JsonOption, fail, says_errors, told
from operator_server.context import Operator
from operator_server.delivery.publishing import open_though_paid
from operator_server.devices.messages import check_templates
from operator_server.offering.loading import BrokenCatalogue, Loaded, load
from operator_server.receivables.letters import check_reminder_templates
from operator_server.settings import Settings, load_settings


@says_errors(TaxError)
def check(
    folder: Annotated[Path, typer.Argument(help="Configuration folder.")] = CONFIG, as_json: JsonOption = False
) -> None:
    """Check settings, tariffs, offers and templates; name file, key and reason of each fault and exit 1.

    Example: tollgate check configs/
    """
    settings = load_settings(folder)
    check_templates(settings)
    check_reminder_templates(settings)
    check_balance_templates(settings)
    load_taxes(settings.config_dir / "tax.toml")
    try:
        loaded = load(settings)
    except BrokenCatalogue as broken:
        faults = [str(problem) for problem in broken.problems]
        told({"folder": str(folder), "faults": faults}, as_json, *faults)
        raise fail(f"{len(faults)} fault(s) in {folder}") from None
    readable = [
        f"{folder}: {product} {version} is published open, but an offer asks money for it: publish it again under "
        f"another version, which will be sealed, then `tollgate release revoke {product} {version}`"
        for product, version in _readable(settings, loaded)
    ]
    if readable:
        told({"folder": str(folder), "faults": readable}, as_json, *readable)
        raise fail(f"{len(readable)} release(s) that can be read without paying")
    versions = sum(len(tariff.versions) for tariff in loaded.tariffs)
    told(
        {"folder": str(folder), "offers": len(loaded.catalogue), "tariff_versions": versions, "faults": []}, as_json,
        f"{folder}: {len(loaded.catalogue)} offers, {versions} tariff versions, no fault.",
    )  # fmt: skip


def _readable(settings: Settings, loaded: Loaded) -> list[tuple[str, str]]:
    """What is published in the clear and costs money; nothing where there is no database yet."""
    if not settings.store.url and not (settings.store.data / "tollgate.sqlite").exists():
        return []
    operator = Operator(settings, settings.make_clock())
    try:
        with operator.engine.connect() as connection:
            return open_though_paid(connection, loaded.catalogue)
    finally:
        operator.engine.dispose()
