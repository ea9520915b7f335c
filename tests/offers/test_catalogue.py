from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from offer_samples import BUY, FREE, NOW, TARIFFS, TAX_RATES, offer
from pydantic import ValidationError

from charging.tariffs import Problem, TariffBook
from offers.catalogue import Catalogue, load_catalogue
from offers.document import ModeTable
from offers.modes import build_mode, tariff_prices

GOOD = """
id = "chess"
product = "chess"
kind = "software"
depends_on = ["board>=1"]
text.en = { title = "Chess" }
target = { minima = { memory_mib = 256 }, requires = ["deb/libc6>=2.30,<3"] }
rejection = { until = "30d", reopen_on = ["new_price"] }
valid = { from = 2026-01-01, until = 2027-01-01T00:00:00+01:00 }

[[mode]]
id = "per-use"
kind = "per_use"
label = { en = "Per game", de = "Je Partie" }
tariff = "games"

[[mode]]
id = "buy"
kind = "one_off"
label = "Buy"
amount = "4.99"
currency = "EUR"
tax_category = "S"
"""

BOARD = """
[[offer]]
id = "board"
product = "board"
kind = "data"
text.en = { title = "Board" }
mode = [{ id = "free", kind = "free", label = "Free", currency = "EUR", tax_category = "S" }]

[[offer]]
id = "hall"
product = "hall"
kind = "service"
text.en = { title = "Hall" }
mode = [{ id = "free", kind = "free", label = "Free", currency = "EUR", tax_category = "S" }]
"""

CONFIGS = Path(__file__).parents[2] / "configs"


def load(
    tmp_path: Path, chess: str = GOOD, board: str = BOARD, default_language: str = "en"
) -> tuple[Catalogue, list[Problem]]:
    (tmp_path / "board.toml").write_text(board, encoding="utf-8")
    (tmp_path / "chess.toml").write_text(chess, encoding="utf-8")
    return load_catalogue(tmp_path, tariffs=TARIFFS, tax_rates=TAX_RATES, default_language=default_language)


def test_a_file_is_one_offer_or_holds_several(tmp_path: Path) -> None:
    catalogue, problems = load(tmp_path)
    assert problems == []
    assert [each.id for each in catalogue] == ["board", "chess", "hall"]
    assert catalogue.products == {"board", "chess", "hall"}


@pytest.mark.requirement("S7")
def test_each_mode_has_price_currency_and_tax(tmp_path: Path) -> None:
    chess = load(tmp_path)[0].get("chess")
    assert chess is not None
    assert [(mode.id, mode.amount, mode.currency, mode.tax_category, mode.tax_rate) for mode in chess.modes] == [
        ("per-use", 0, "EUR", "S", 1900),
        ("buy", 4_990_000, "EUR", "S", 1900),
    ]
    assert chess.modes[0].tariff == "games"


def test_texts_fall_back_to_the_operators_language(tmp_path: Path) -> None:
    chess = load(tmp_path)[0].get("chess")
    assert chess is not None
    assert chess.modes[0].label("de-AT") == "Je Partie"
    assert chess.modes[0].label("fr") == "Per game"
    assert chess.modes[1].label("de") == "Buy"
    assert chess.title("de") == "Chess"


def test_dates_are_midnights_in_utc(tmp_path: Path) -> None:
    chess = load(tmp_path)[0].get("chess")
    assert chess is not None
    assert chess.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert chess.valid_until == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert chess.rejection.until == timedelta(days=30)


FAULTS = [
    ('id = "chess"', 'id = "Chess 1"', "id", "'Chess 1'", "a-z 0-9"),
    ('product = "chess"\n', "", "product", "", "missing"),
    ('kind = "software"', 'kind = "toy"', "kind", "'toy'", "'software', 'data', 'update', 'service' or 'tone'"),
    ('kind = "software"', 'kind = "software"\npriority = "high"', "priority", "'high'", "whole number"),
    ('kind = "software"', 'kind = "software"\npriorty = 3', "priorty", "3", "did you mean 'priority'?"),
    ('kind = "software"', 'kind = "software"\nrelease = "newest"', "release", "'newest'", '"latest"'),
    ('kind = "software"', 'kind = "software"\nrelease = ">>1"', "release", "'>>1'", "not a version specifier"),
    ('kind = "software"', 'kind = "service"\nrelease = ">=1"', "release", "'>=1'", "no specifier"),
    ('"Chess"', '"Chess", descripton = "x"', "text.en.descripton", "'x'", "did you mean 'description'?"),
    ('title = "Chess"', 'description = "x"', "text.en.title", "", "missing"),
    ('title = "Chess"', 'title = ""', "text.en.title", "''", "must not be empty"),
    ("text.en =", "text.de =", "text", "", "no text in 'en'"),
    ("text.en =", "text.English =", "text.English", "", "language tag"),
    ("memory_mib = 256", 'memory_mib = "256"', "target.minima.memory_mib", "'256'", "whole number"),
    ("memory_mib = 256", "memory_mib = -1", "target.minima.memory_mib", "-1", "0 or more"),
    ("memory_mib = 256", "memory_mib = 9007199254740992", "target.minima.memory_mib", "90071", "too large"),
    ("memory_mib = 256", "imei = 1", "target.minima.imei", "1", "no terminal reports it"),
    ('kind = "software"', 'kind = "software"\npackage = "a b"', "package", "'a b'", "no terminal reports it"),
    ('kind = "software"', 'kind = "software"\npriority = 9007199254740992', "priority", "90071", "too large"),
    ('"Chess"', '"Chess\\u0000"', "text.en.title", "'Chess", "control character"),
    ("minima =", "minimum =", "target.minimum", "", "did you mean 'minima'?"),
    ("deb/libc6>=2.30,<3", "deb/libc6>>2", "target.requires[0]", "'deb/libc6>>2'", "not a version specifier"),
    ("board>=1", "bord>=1", "depends_on[0]", "'bord>=1'", "no offer in the catalogue has this product"),
    ('until = "30d"', 'until = "soon"', "rejection.until", "'soon'", '"never"'),
    ('"new_price"]', '"new_moon"]', "rejection.reopen_on[0]", "'new_moon'", "'new_release' or 'new_price'"),
    ("from = 2026-01-01", "from = 2026-01-01T00:00:00", "valid.from", "2026-01-01T00:00:00", "distance from UTC"),
    ("from = 2026-01-01", 'from = "2026-01-01"', "valid.from", "'2026-01-01'", "without quotes"),
    ("from = 2026-01-01", "from = 2028-01-01", "valid.until", "2027-01-01T00:00:00+01:00", "ends before it begins"),
    ("from = 2026-01-01", "from = 0001-01-01T00:00:00+01:00", "valid.from", "0001-01-01", "year 1 to 9999"),
    ('id = "buy"', 'id = "per-use"', "mode[1].id", "'per-use'", "the same id"),
    ('kind = "one_off"', 'kind = "lease"', "mode[1].kind", "'lease'", "free, one_off, per_use, subscription"),
    ('label = "Buy"', 'label = { de = "Kaufen" }', "mode[1].label", "", "no text in 'en'"),
    ('amount = "4.99"', "amount = 4.99", "mode[1].amount", "4.99", "string"),
    ('amount = "4.99"', 'amount = "4,99"', "mode[1].amount", "'4,99'", "not a decimal number"),
    ('amount = "4.99"', 'amount = "-4.99"', "mode[1].amount", "'-4.99'", "negative"),
    ('amount = "4.99"', 'amount = "0.00"', "mode[1].amount", "'0.00'", "free"),
    ('amount = "4.99"', 'amount = "4.995"', "mode[1].amount", "'4.995'", "smallest step of EUR is 0.01"),
    ('amount = "4.99"\n', "", "mode[1].amount", "", "missing"),
    ('amount = "4.99"', 'amount = "4.99"\ntariff = "games"', "mode[1].tariff", "'games'", "leave the key out"),
    ('currency = "EUR"', 'currency = "EURO"', "mode[1].currency", "'EURO'", "ISO 4217"),
    ('currency = "EUR"\n', "", "mode[1].currency", "", "missing"),
    ('tax_category = "S"\n', "", "mode[1].tax_category", "", "missing"),
    ('tax_category = "S"', 'tax_category = "Q"', "mode[1].tax_category", "'Q'", "there are: S, Z"),
    ('tariff = "games"', 'tariff = "game"', "mode[0].tariff", "'game'", "there are: games"),
    ('tariff = "games"\n', "", "mode[0].tariff", "", "missing"),
    ('tariff = "games"', 'tariff = "games"\ncurrency = "USD"', "mode[0].currency", "'USD'", "prices in EUR"),
    ('tariff = "games"', 'tariff = "games"\ntax_category = "Z"', "mode[0].tax_category", "'Z'", "has tax category 'S'"),
    ('tariff = "games"', 'tariff = "games"\namount = "1.00"', "mode[0].amount", "'1.00'", "by its tariff"),
    ('tariff = "games"', 'tariff = "games"\ngroups = "staff"', "mode[0].groups", "'staff'", "a list is needed"),
]


@pytest.mark.parametrize(("found", "put", "key", "value", "reason"), FAULTS)
def test_each_fault_is_named_by_file_key_value_and_reason(
    tmp_path: Path, found: str, put: str, key: str, value: str, reason: str
) -> None:
    assert found in GOOD
    _, problems = load(tmp_path, GOOD.replace(found, put, 1))
    problem = next(each for each in problems if each.key == key)
    assert problem.file == str(tmp_path / "chess.toml")
    assert value in problem.value
    assert bool(value) == bool(problem.value)
    assert reason in problem.reason
    assert len(problems) == 1, [str(each) for each in problems]


@pytest.mark.requirement("S7")
@pytest.mark.parametrize("modes", ["", "mode = []\n"])
def test_an_offer_without_a_mode_cannot_be_published(tmp_path: Path, modes: str) -> None:
    chess = modes + GOOD[: GOOD.index("[[mode]]")]
    catalogue, problems = load(tmp_path, chess)
    assert [(problem.key, "missing" in problem.reason or "[[mode]]" in problem.reason) for problem in problems] == [
        ("mode", True)
    ]
    assert catalogue.get("chess") is None


def test_all_faults_come_at_once_and_the_other_offers_stay(tmp_path: Path) -> None:
    chess = GOOD.replace('"30d"', '"soon"').replace('"4.99"', "4.99").replace("minima", "minimum")
    catalogue, problems = load(tmp_path, chess, BOARD.replace('kind = "service"', 'kind = "servce"'))
    assert {problem.key for problem in problems} == {
        "rejection.until",
        "mode[1].amount",
        "target.minimum",
        "offer[1].kind",
    }
    assert [each.id for each in catalogue] == ["board"]


def test_what_can_be_read_of_an_offer_is_checked_beside_what_cannot(tmp_path: Path) -> None:
    chess = GOOD.replace('"4.99"', "4.99").replace("text.en", "text.de").replace("board>=1", "bord>=1")
    chess = chess.replace('"S"', '"Q"').replace('tariff = "games"', 'tariff = "game"').replace("30d", "soon")
    _, problems = load(tmp_path, chess.replace("from = 2026", "from = 2028").replace('kind = "software"\n', ""))
    assert sorted(problem.key for problem in problems) == [
        "depends_on[0]", "kind", "mode[0].tariff", "mode[1].amount", "mode[1].tax_category", "rejection.until", "text",
        "valid.until",
    ]  # fmt: skip


@pytest.mark.parametrize("text", [f"id = {'[' * 5000}{']' * 5000}", f"{'.'.join('a' * 3000)} = 1", "offer.mode = 1"])
def test_no_file_is_too_odd_to_be_told_of(tmp_path: Path, text: str) -> None:
    _, problems = load(tmp_path, text)
    assert problems[0].file == str(tmp_path / "chess.toml")


def test_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    catalogue, problems = load(tmp_path, f"\ufeff{GOOD}")
    assert catalogue.get("chess")
    assert problems == []


def test_two_offers_cannot_have_one_id(tmp_path: Path) -> None:
    _, problems = load(tmp_path, GOOD.replace('id = "chess"', 'id = "board"', 1))
    assert [(problem.file, problem.key, problem.value) for problem in problems] == [
        (str(tmp_path / "chess.toml"), "id", "'board'")
    ]
    assert "board.toml" in problems[0].reason


def test_products_that_need_each_other_are_named(tmp_path: Path) -> None:
    _, problems = load(tmp_path, board=BOARD.replace('kind = "data"', 'kind = "data"\ndepends_on = ["chess"]'))
    assert [problem.key for problem in problems] == ["offer[0].depends_on"]
    assert "board -> chess -> board" in problems[0].reason or "chess -> board -> chess" in problems[0].reason


def test_a_product_cannot_need_itself(tmp_path: Path) -> None:
    _, problems = load(tmp_path, GOOD.replace("board>=1", "chess>=1"))
    assert [problem.key for problem in problems] == ["depends_on"]
    assert "chess -> chess" in problems[0].reason


@pytest.mark.parametrize("text", ["id = ", '[[offer]]\nid = "x"\n[other]\n', "offer = 3"])
def test_a_file_that_is_no_offer_file_is_named(tmp_path: Path, text: str) -> None:
    catalogue, problems = load(tmp_path, text)
    assert len(catalogue) == 2
    assert problems[0].file == str(tmp_path / "chess.toml")


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    _, problems = load_catalogue(tmp_path / "none", tariffs={}, tax_rates={}, default_language="en")
    assert [problem.reason for problem in problems] == ["no such directory"]


def test_the_version_of_an_offer_names_its_content() -> None:
    same = offer("chess", mode=[BUY])
    assert offer("chess", mode=[BUY]).version == same.version
    assert same.version.startswith("chess@")
    assert len(same.version) == len("chess@") + 12
    assert offer("chess", mode=[BUY], priority=1).version != same.version
    assert offer("chess", mode=[BUY | {"label": "Purchase"}]).version != same.version


def test_only_prices_change_the_price_digest() -> None:
    same = offer("chess", mode=[BUY]).price_at(NOW)
    assert offer("chess", mode=[BUY | {"label": "Purchase"}], priority=1).price_at(NOW) == same
    assert offer("chess", mode=[BUY | {"amount": "3.99"}]).price_at(NOW) != same
    assert offer("chess", mode=[BUY, FREE]).price_at(NOW) != same
    assert offer("chess", mode=[FREE, BUY]).price_at(NOW) == offer("chess", mode=[BUY, FREE]).price_at(NOW)


def test_a_change_of_the_tax_rate_is_a_new_version_and_a_new_price(tmp_path: Path) -> None:
    before = load(tmp_path)[0].get("chess")
    after = load_catalogue(tmp_path, tariffs=TARIFFS, tax_rates={"S": 1600}, default_language="en")[0].get("chess")
    assert before is not None
    assert after is not None
    assert before.version != after.version
    assert before.price_at(NOW) != after.price_at(NOW)


def test_the_operators_own_catalogue_has_no_faults() -> None:
    book, faults = TariffBook.load(CONFIGS / "tariffs")
    assert book is not None, faults
    catalogue, problems = load_catalogue(
        CONFIGS / "offers", tariffs=tariff_prices(book), tax_rates={"S": 1900, "R": 700, "Z": 0}, default_language="en"
    )
    assert [str(problem) for problem in problems] == []
    assert {each.kind for each in catalogue} == {"software", "data", "update", "service"}
    assert {mode.kind for each in catalogue for mode in each.modes} == {"free", "one_off", "per_use"}
    assert all(set(each.texts) >= {"en", "de"} for each in catalogue)


SUBSCRIPTION = {
    "id": "m", "kind": "subscription", "label": "Monthly", "amount": "4.99", "currency": "EUR", "tax_category": "S",
    "period": "month",
}  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        ({"period": None}, "period", "missing: what the amount is for"),
        ({"payment": "barter"}, "payment", "there are: postpaid, prepaid, pseudo_prepaid, rated_only"),
        ({"payment": "rated_only"}, "payment", "only use is rated and not charged"),
        ({"trial_warning": "3d"}, "trial_warning", "there is no trial that could end"),
        ({"trial": "3d", "trial_warning": "4d"}, "trial_warning", "which has 3 days"),
        ({"kind": "one_off"}, "period", "has no periods"),
        ({"kind": "one_off", "period": None, "notice": "3d"}, "notice", "can be cancelled at any time"),
        ({"kind": "one_off", "period": None, "price_change": "30d"}, "price_change", "has no later price"),
    ],
)
def test_terms_that_cannot_be_are_named(keys: dict[str, Any], key: str, reason: str) -> None:
    table = {name: value for name, value in (SUBSCRIPTION | keys).items() if value is not None}
    _, faults = build_mode(ModeTable.model_validate(table), TARIFFS, TAX_RATES)
    assert [(at, reason in text) for at, text in faults] == [(key, True)], faults


@pytest.mark.parametrize("text", ["3", "0d", "-3d", "soon"])
def test_a_notice_of_price_changes_is_fixed_or_some_days(text: str) -> None:
    with pytest.raises(ValidationError):
        ModeTable.model_validate(SUBSCRIPTION | {"price_change": text})
