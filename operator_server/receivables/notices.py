"""The notice to a customer whose unpaid invoice has its tax corrected: what the law of some countries asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from babel.dates import format_date
from babel.numbers import format_currency
from sqlalchemy import Row

from charging.invoices.model import Invoice
from charging.price_text import locale_of
from operator_server.settings import Settings

_TEXTS = {
    "en": {
        "title": "Notice {notice} of {day}: tax corrected",
        "about": "on invoice {number} of {issued}, customer {account}",
        "unpaid": "Of this invoice {gross} were not paid: {net} net and {tax} tax.\n"
        "We have corrected our tax by {tax}; tax that was not paid must not be deducted. What you owe does not change.",
        "paid": "Of this invoice {gross} were paid after all: {net} net and {tax} tax.\n"
        "We owe this tax again, and you may deduct it as far as you are entitled to.",
        "by_rate": "{rate} tax: {net} net, {tax} tax",
    },
    "de": {
        "title": "Mitteilung {notice} vom {day}: Steuer berichtigt",
        "about": "zur Rechnung {number} vom {issued}, Kunde {account}",
        "unpaid": "Von dieser Rechnung wurden {gross} nicht bezahlt: {net} netto und {tax} Steuer.\n"
        "Wir haben unsere Steuer um {tax} berichtigt; ein Vorsteuerabzug ist zu berichtigen. Ihre Schuld bleibt.",
        "paid": "Von dieser Rechnung wurden {gross} doch noch bezahlt: {net} netto und {tax} Steuer.\n"
        "Diese Steuer schulden wir wieder; ein Vorsteuerabzug ist insoweit wieder möglich.",
        "by_rate": "{rate} Steuer: {net} netto, {tax} Steuer",
    },
    "fr": {
        "title": "Avis {notice} du {day} : TVA rectifiée",
        "about": "duplicata de la facture {number} du {issued}, client {account}",
        "unpaid": "Facture demeurée impayée pour la somme de {net} (prix net) et pour la somme de {tax} (taxe sur la"
        " valeur ajoutée correspondante) qui ne peut faire l'objet d'une déduction (CGI, art. 272).",
        "paid": "Facture payée après coup pour la somme de {net} (prix net) et pour la somme de {tax} (taxe sur la"
        " valeur ajoutée correspondante), de nouveau exigible.",
        "by_rate": "TVA {rate} : {net} net, {tax} de taxe",
    },
    "es": {
        "title": "Factura rectificativa {notice} de {day}: IVA rectificado por impago",
        "about": "de la factura {number} de {issued}, cliente {account}",
        "unpaid": "De esta factura quedan impagados {gross}: {net} de base y {tax} de cuota.\n"
        "Rectificamos la cuota en {tax} (art. 80.Cuatro LIVA). Su deuda no cambia.",
        "paid": "De esta factura se han cobrado después {gross}: {net} de base y {tax} de cuota, de nuevo devengada.",
        "by_rate": "IVA {rate}: {net} de base, {tax} de cuota",
    },
    "it": {
        "title": "Nota di variazione {notice} del {day}: IVA rettificata per mancato pagamento",
        "about": "relativa alla fattura {number} del {issued}, cliente {account}",
        "unpaid": "Di questa fattura non sono stati pagati {gross}: {net} di imponibile e {tax} di imposta.\n"
        "L'imposta è rettificata di {tax} (art. 26 DPR 633/1972). Il Suo debito non cambia.",
        "paid": "Di questa fattura sono stati pagati in seguito {gross}: {net} di imponibile e {tax} di imposta, di"
        " nuovo dovuta.",
        "by_rate": "IVA {rate}: {net} di imponibile, {tax} di imposta",
    },
}


def compose_notice(settings: Settings, rows: Sequence[Row[Any]], invoice: Invoice) -> str:
    """The text of a notice, in the customer's language or English."""
    language = invoice.language.partition("-")[0]
    texts = _TEXTS.get(language, _TEXTS["en"])
    locale = locale_of(invoice.language if language in _TEXTS else "en")

    def money(micros: int) -> str:
        return str(format_currency(Decimal(abs(micros)).scaleb(-6), invoice.currency, locale=locale))

    def day(value: date) -> str:
        return str(format_date(value, "long", locale=locale))

    base, tax = sum(row.base for row in rows), sum(row.tax for row in rows)
    names = {
        "notice": rows[0].notice,
        "day": day(rows[0].booked_at.astimezone(settings.operator.zone).date()),
        "number": invoice.number,
        "issued": day(invoice.issue_date),
        "account": invoice.account,
        "gross": money(base + tax),
        "net": money(base),
        "tax": money(tax),
    }
    rates = [
        texts["by_rate"].format(rate=f"{row.rate_bp / 100:g} %", net=money(row.base), tax=money(row.tax))
        for row in rows
    ]
    seller = "\n".join(
        [invoice.seller.name, *invoice.seller.address, *([invoice.seller.vat_id] if invoice.seller.vat_id else [])]
    )
    customer = "\n".join([invoice.customer.name, *invoice.customer.address])
    title, about = texts["title"].format(**names), texts["about"].format(**names)
    told = texts["unpaid" if rows[0].part < 0 else "paid"].format(**names)
    return "\n\n".join([seller, customer, f"{title}\n{about}", told, "\n".join(rates)]) + "\n"
