"""Settings and configuration folders: every fault with its place and what to do, before anything is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from operator_samples import OFFERS, TARIFF, House, write_configuration

from operator_server.keys import UnusableKey
from operator_server.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from conftest import Tollgate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_configuration(tmp_path / "configs", tmp_path / "data")


def changed(folder: Path, old: str, new: str) -> None:
    file = folder / "operator.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def fault(folder: Path) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(folder)
    return str(error.value)


def test_the_small_operator_of_the_repository_has_no_fault(tollgate: Tollgate) -> None:
    configs = Path(__file__).parents[2] / "configs"
    assert "17 offers, 4 tariff versions, no fault" in tollgate("check", configs).output


@pytest.mark.requirement("S7")
def test_an_offer_without_a_mode_is_named_and_the_check_fails(tollgate: Tollgate) -> None:
    file = tollgate.config / "offers" / "shop.toml"
    file.write_text(OFFERS[: OFFERS.index("[[offer.mode]]")])
    result = tollgate("check", tollgate.config, code=1)
    assert f"{file}: offer[0].mode: missing" in result.output
    assert "1 fault(s)" in result.output


def test_every_fault_of_offers_and_tariffs_is_told_at_once(tollgate: Tollgate) -> None:
    (tollgate.config / "offers" / "shop.toml").write_text(OFFERS.replace('"6.99"', '"6.999"').replace("30d", "soon"))
    (tollgate.config / "tariffs" / "games.toml").write_text(TARIFF.replace('"0.05"', "0.05"))
    output = tollgate("check", tollgate.config, code=1).output
    assert "offer[0].mode[1].amount = '6.999': cannot be paid" in output
    assert "offer[1].rejection.until = 'soon'" in output
    assert "version[0].price.amount = 0.05" in output
    assert "3 fault(s)" in output


def test_faults_of_templates_and_taxes_do_not_hide_those_of_offers(tollgate: Tollgate) -> None:
    (tollgate.config / "templates").mkdir()
    (tollgate.config / "templates" / "reminder.toolong.txt").write_text("x")
    (tollgate.config / "tax.toml").write_bytes(b"\xff\xfe")
    (tollgate.config / "offers" / "shop.toml").write_text(OFFERS.replace('"6.99"', '"6.999"'))
    output = tollgate("check", tollgate.config, code=1).output
    assert "reminder.toolong.txt: is never used" in output
    assert "tax.toml: " in output
    assert "offer[0].mode[1].amount = '6.999'" in output
    assert "3 fault(s)" in output


def test_a_file_that_is_not_toml_is_named(tollgate: Tollgate) -> None:
    file = tollgate.config / "offers" / "broken.toml"
    file.write_text("= nothing")
    assert f"{file}: cannot be read as TOML" in tollgate("check", tollgate.config, code=1).output


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('country = "DE"', 'country = "Germany"', "operator.country = 'Germany'"),
        ('country = "DE"', 'contry = "DE"', "operator.contry = 'DE'"),
        ("Europe/Berlin", "Europe/Kiel", "operator.time_zone = 'Europe/Kiel': 'Europe/Kiel' is not a zone"),
        ('country = "DE"', 'country = "DE"\ncurrency = "EURO"', "operator.currency = 'EURO'"),
        ('country = "DE"', 'country = "DE"\ncredit_limit = "-1"', "operator.credit_limit = '-1': '-1' is below zero"),
        ('country = "DE"', 'country = "DE"\ncredit_limit = "much"', "operator.credit_limit = 'much'"),
        ('country = "DE"', 'country = "DE"\ntax_rates = { S = "119" }', "S: '119' is not a percentage"),
        (
            'country = "DE"',
            'country = "DE"\niban = "DE03 1203 0000 0000 2020 51"',
            "operator.iban = 'DE03 1203 0000 0000 2020 51': IBAN 'DE03 1203 0000 0000 2020 51': The number's checksum",
        ),
        ('country = "DE"', 'country = "DE"\nbic = "BYLA"', "operator.bic = 'BYLA': BIC 'BYLA': The number has"),
        (
            "[link]",
            '[receivables]\ncreditor_id = "DE97ZZZ09999999999"\n[link]',
            "receivables.creditor_id = 'DE97ZZZ09999999999': creditor identifier 'DE97ZZZ09999999999': The number's",
        ),
        (
            "[link]",
            '[receivables]\nbank_accounts = ["DE02120300000000202051", "DE1"]\n[link]',
            "IBAN 'DE1': The number",
        ),
        ("port = 0", "port = 70000", "link.port = 70000"),
        ("port = 0", 'tls = false\nhost = "0.0.0.0"', "link: tls = false: only on the loopback"),
        ("[link]", "[delivery]\nhash_bins = 12\n[link]", "delivery.hash_bins = 12: a power of two"),
        ("[link]", '[store_]\nurl = ""\n[link]', "store_"),
        ('data = "', 'url = "nonsense"\ndata = "', "store.url = 'nonsense': not a database URL"),
        (
            "[link]",
            2 * '[[interrogation.calendar]]\nname = "a"\nat = "01:00"\n' + "[link]",
            "interrogation.calendar: two plans have the name 'a'",
        ),
        ("[operator]", 'clock = "noon"\n[operator]', "clock = 'noon'"),
        (
            "[link]",
            '[receivables]\nfee_series = "R"\n[link]',
            "receivables.fee_series = 'R': operator.invoice_series is the same",
        ),
        ("[operator]", "[operator", "not TOML"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_with_file_key_and_reason(
    folder: Path, old: str, new: str, told: str
) -> None:
    changed(folder, old, new)
    text = fault(folder)
    assert f"{folder / 'operator.toml'}: " in text
    assert told in text


def test_all_faults_are_told_one_a_line(folder: Path) -> None:
    changed(folder, 'country = "DE"', 'country = "de"')
    changed(folder, "port = 0", "port = -1")
    assert len(fault(folder).splitlines()) == 2


def test_the_environment_stands_above_the_file_and_is_named_in_its_faults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_LINK__PORT", "7001")
    assert load_settings(folder).link.port == 7001
    monkeypatch.setenv("TOLLGATE_LINK__PORT", "many")
    assert fault(folder).startswith("environment: TOLLGATE_LINK__PORT = 'many': ")


def test_the_configuration_folder_is_the_one_that_was_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLGATE_CONFIG_DIR", "/elsewhere")
    assert load_settings(folder).config_dir == folder


def test_a_folder_without_settings_says_how_to_name_one(tmp_path: Path, tollgate: Tollgate) -> None:
    result = tollgate("check", tmp_path / "nowhere", code=1)
    assert "there is no such file; name the configuration folder with --config" in result.output


def test_a_simulated_clock_that_is_not_there_is_told(folder: Path, tmp_path: Path) -> None:
    changed(folder, "[operator]", f'clock = "file:{tmp_path}/none"\n[operator]')
    settings = load_settings(folder)
    with pytest.raises(SettingsError, match="holds no simulated clock"):
        settings.make_clock()


def test_tax_rates_become_basis_points() -> None:
    operator = {"server_id": "s", "name": "n", "address": ["a"], "country": "DE", "tax_rates": {"S": "7.25", "Z": "0"}}
    assert Settings(operator=operator).operator.tax_basis_points() == {"S": 725, "Z": 0}


def test_a_server_refuses_to_start_on_a_broken_catalogue(tollgate: Tollgate) -> None:
    (tollgate.config / "offers" / "shop.toml").write_text(OFFERS.replace('"game"', '"game!"', 1))
    command = [sys.executable, "-m", "operator_server", "serve", "--single", "--config", str(tollgate.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{tollgate.config}/offers/shop.toml: offer[0].id = 'game!'" in done.stderr
    assert "link:" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_role_that_does_not_exist_is_told(tollgate: Tollgate) -> None:
    assert (
        "--role lnk: there is no such role; there are link, web, worker"
        in tollgate("serve", "--role", "lnk", code=1).output
    )


def test_a_key_file_that_was_damaged_is_told(house: House) -> None:
    from operator_server.context import Operator

    key = house.folder / "data" / "keys" / "server_ed25519.pem"
    key.write_text("no key")
    again = Operator(house.operator.settings, house.clock)
    with pytest.raises(UnusableKey, match=r"server_ed25519\.pem: cannot be read as a key; restore it"):
        again.keys  # noqa: B018 - reads it


def test_the_keys_are_made_once_and_nobody_else_may_read_them(house: House) -> None:
    from operator_server.context import Operator

    folder = house.folder / "data" / "keys"
    assert Operator(house.operator.settings, house.clock).keys.public_key() == house.operator.keys.public_key()
    secret = [path for path in folder.rglob("*") if path.suffix in (".key", ".bin") or path.name.endswith("25519.pem")]
    assert len(secret) >= 4
    assert {path.stat().st_mode & 0o077 for path in secret} == {0}
