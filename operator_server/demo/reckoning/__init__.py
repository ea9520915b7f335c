"""What each invoice must say, from the terminals' own journals and the operator's TOML files alone.

A second opinion: nothing here comes from ``charging`` or from code that uses it. The rules as the agreement puts them:

1. A delivery that was granted costs the price of its mode in the catalogue; a failure that was acknowledged as
   reversed takes the same amount back.
2. A counter report charges, epoch by epoch, what its value exceeds all values reported before. Samples at cut-over
   instants split that into months: what a sample counts was used before its instant; the rest by the report's.
3. The use of an agreement in a month costs what its tariff asks for the month's units together; a later part of the
   month costs the difference.
4. What is acknowledged after a bill run goes onto the next invoice, under the month in which it was used.
5. Each line is rounded to the minor unit, half away from zero; tax is computed once for each category and rate on the
   sum of its rounded lines. Who is outside the EU, or owes the tax himself in another country of it, pays none.

``prices``: what the files say. ``journals``: what the terminals' journals make of it. ``bills``: invoices, compared.
"""

from __future__ import annotations


class ReckoningError(ValueError):
    """Something the calculator does not know how to reckon; the text says what and where."""
