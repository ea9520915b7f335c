"""``tollgate check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charging.billing.tax import TaxError, load_taxes
from operator_server.balances.mails import check_balance_templates
from operator_server.billing.dispatch import check_invoice_templates
from operator_server.cli.common import CONFIG, JsonOption, fail, says_errors, told
from operator_server.context import Operator
from operator_server.delivery.publishing import open_though_paid
from operator_server.devices.messages import check_templates
from operator_server.offering.loading import BrokenCatalogue, Loaded, load
from operator_server.receivables.letters import check_reminder_templates
from operator_server.settings import Settings, SettingsError, load_settings


@says_errors()
def check(
    folder: Annotated[Path, typer.Argument(help="Configuration folder.")] = CONFIG, as_json: JsonOption = False
) -> None:
    """Check settings, tariffs, offers and templates; name file, key and reason of each fault and exit 1.

    Example: tollgate check configs/
    """
    try:
        settings = load_settings(folder)
    except SettingsError as no:
        raise fail(f"{no}; tariffs, offers and templates are looked at when the settings can be read") from None
    faults: list[str] = []
    checks = (check_templates, check_reminder_templates, check_balance_templates, check_invoice_templates, _check_taxes)
    for look in checks:
        try:
            look(settings)
        except (SettingsError, TaxError, OSError) as no:
            faults.append(str(no))
    try:
        loaded = load(settings)
    except BrokenCatalogue as broken:
        faults += map(str, broken.problems)
    if faults:
        faults = list(dict.fromkeys(faults))
        told({"folder": str(folder), "faults": faults}, as_json, *faults)
        raise fail(f"{len(faults)} fault(s) in {folder}")
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


def _check_taxes(settings: Settings) -> None:
    load_taxes(settings.config_dir / "tax.toml")


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
