"""Order, grant, receipt: one delivery and one charge, however often each step is tried."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from operator_samples import DAY, GAME, NOW, PLAIN, PRICE_OF_GAME, House, User

from charging.ledger.verify import verify
from operator_server import parties
from operator_server.delivery.publishing import Package, publish, withdraw
from operator_server.store.accounting import Charge, UsageGrantRow
from operator_server.store.dealings import Agreement, Delivery, Installation, Release
from operator_server.store.parties import Event
from signalling.configuration import Configuration
from signalling.documents import DeliveryGrant, DeliveryOrder
from signalling.messages import Agreed, DeliveryRequest, Receipt, Refusal
from signalling.proof import sign
from signalling.sealing import grant_info, open_seal, unwrap_key


def states(house: House) -> dict[str, str]:
    return {row.id: row.state for row in house.rows(Agreement)}


def plaintext(house: House, user: User, grant: DeliveryGrant) -> bytes:
    """What the terminal gets when it opens the granted package."""
    import io

    key = unwrap_key(grant.content_key, user.wrap, grant_info(grant.agreement))
    folder = house.operator.repository_dir / "targets"
    [file] = folder.rglob(f"{grant.sha256.hex()}.*")
    sink = io.BytesIO()
    with file.open("rb") as source:
        open_seal(source, sink, key)
    return sink.getvalue()


@pytest.mark.requirement("S11")
def test_the_grant_opens_the_sealed_package_for_the_key_in_the_order(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "buy"))
    assert grant.sealed
    assert plaintext(house, user, grant) == GAME


def test_the_first_grant_charges_what_was_agreed(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    user.order(agreed)
    [charge] = house.rows(Charge)
    assert (charge.kind, charge.net, charge.agreement_id) == ("delivery", PRICE_OF_GAME, agreed.agreement)
    assert (house.unbilled().balance, house.unbilled().reserved) == (PRICE_OF_GAME, 0)
    assert states(house) == {agreed.agreement: "granted"}


@pytest.mark.requirement("S11")
def test_an_order_repeated_with_another_key_gets_a_grant_for_it_and_charges_nothing(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    first = user.granted(agreed)
    user.wrap = X25519PrivateKey.generate()
    house.clock.advance(3 * DAY)
    second = user.granted(agreed)
    assert plaintext(house, user, second) == GAME
    assert (second.installation, second.target) == (first.installation, first.target)
    assert second.expires > first.expires
    assert len(house.rows(Charge)) == len(house.rows(Delivery)) == len(house.rows(Installation)) == 1
    assert house.unbilled().balance == PRICE_OF_GAME


@pytest.mark.requirement("S10")
def test_nothing_is_delivered_on_another_hash(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    wrong = Agreed(agreed.agreement, bytes(32))
    assert user.refused(user.order, wrong) == "wrong_hash"
    assert not house.rows(Delivery)
    assert not house.rows(Installation)
    assert house.unbilled().balance == 0


def test_an_order_that_another_key_signed_is_refused(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    document = DeliveryOrder(agreed.agreement, agreed.digest, bytes(32), 0).encode()
    forged = DeliveryRequest(sign(Ed25519PrivateKey.generate(), DeliveryOrder.PURPOSE, document))
    assert user.refused(user.say, forged) == "bad_document"
    assert not house.rows(Delivery)


def test_a_key_to_which_nothing_can_be_wrapped_is_refused_and_charges_nothing(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    assert user.refused(user.order, agreed, wrap_key=bytes(32)) == "bad_document"
    assert not house.rows(Charge)
    assert house.unbilled().reserved == PRICE_OF_GAME


def test_an_agreement_of_another_terminal_or_subscriber_is_unknown(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    assert user.refused(house.user("T-2").order, agreed) == "unknown_agreement"
    assert user.refused(user.order, Agreed("agr-nobody-made", agreed.digest)) == "unknown_agreement"
    sold = house.user("T-1", "A-2")
    assert user.refused(sold.order, agreed) == "unknown_agreement"
    assert not house.rows(Delivery)


def test_a_release_withdrawn_since_the_agreement_is_not_delivered_and_not_charged(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", house.clock.now()))
    assert user.refused(user.order, agreed) == "release_revoked"
    assert not house.rows(Charge)
    assert not house.rows(Installation)


def test_a_grant_that_was_charged_is_taken_back_when_its_release_is_withdrawn(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    user.granted(agreed)
    house.change(lambda c: withdraw(c, "game", "1.0", "a fault", house.clock.now()))
    answer = user.order(agreed)
    assert isinstance(answer, Refusal)
    assert answer.code == "release_revoked"
    assert sum(charge.net for charge in house.rows(Charge)) == 0
    assert house.unbilled().balance == 0
    assert user.refused(user.order, agreed) == "agreement_closed"


def test_a_release_that_expired_since_the_agreement_is_not_delivered(house: House, user: User) -> None:
    file = house.folder / "data.bin"
    file.write_bytes(b"data")
    operator = house.operator
    package = Package(file, "notes", "2.0", sealed=False, valid_until=NOW + DAY)
    publish(operator.engine, operator.repository, operator.vault, [package], NOW)
    house.take_over()
    agreed = user.agree("notes", "free")
    house.clock.advance(DAY)
    assert user.refused(user.order, agreed) == "release_expired"


def test_an_agreement_ordered_too_late_is_refused_with_what_to_do(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    house.clock.advance(7 * DAY)
    assert user.refused(user.order, agreed) == "agreement_lapsed"
    assert not house.rows(Charge)


def test_a_service_has_a_grant_that_names_nothing_to_fetch(house: House, user: User) -> None:
    grant = user.granted(user.agree("hotline", "buy"))
    assert (grant.target, grant.sha256, grant.length, grant.sealed) == ("", b"", 0, False)
    user.receipt(grant)
    assert house.unbilled().balance == 5_000_000


def test_what_is_free_is_delivered_open_and_without_a_charge(house: House, user: User) -> None:
    grant = user.granted(user.agree("notes", "free"))
    assert not grant.sealed
    assert user.receipt(grant).charge == "none"
    assert not house.rows(Charge)


def test_what_is_charged_by_use_brings_a_usage_grant_and_no_charge(house: House, user: User) -> None:
    agreed = user.agree("game", "per-use")
    answer = user.order(agreed)
    assert len(answer.usage) == 1
    assert user.order(agreed).usage == answer.usage
    assert not house.rows(Charge)
    [grant] = house.rows(UsageGrantRow)
    assert grant.ceiling == 20
    assert house.unbilled().reserved == 10 * 50_000


@pytest.mark.requirement("S11")
def test_a_receipt_that_is_repeated_changes_nothing(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "buy"))
    assert user.receipt(grant).charge == "charged"
    house.clock.advance(DAY)
    assert user.receipt(grant).charge == "charged"
    [delivery] = house.rows(Delivery)
    assert (delivery.state, delivery.finished_at) == ("installed", NOW)
    assert sum(event.kind == "delivered" for event in house.rows(Event)) == 1


@pytest.mark.requirement("S11")
def test_a_signed_failure_takes_the_charge_back_once(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    grant = user.granted(agreed)
    for _ in range(3):
        assert user.receipt(grant, "failed").charge == "reversed"
    charges = house.rows(Charge)
    assert sorted(charge.net for charge in charges) == [-PRICE_OF_GAME, PRICE_OF_GAME]
    assert {charge.reverses_id for charge in charges} == {None, charges[0].id}
    assert (house.unbilled().balance, house.unbilled().reserved) == (0, 0)
    assert user.refused(user.order, agreed) == "agreement_closed"
    with house.engine.connect() as connection:
        assert verify(connection) == []


def test_after_a_failure_the_offer_can_be_taken_again(house: House, user: User) -> None:
    user.receipt(user.granted(user.agree("game", "buy")), "failed")
    assert user.take("game", "buy").release == "1.0"
    assert house.unbilled().balance == PRICE_OF_GAME


def test_a_failure_gives_back_what_was_granted_for_use(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "per-use"))
    user.receipt(grant, "failed")
    assert house.unbilled().reserved == 0
    assert [row.state for row in house.rows(UsageGrantRow)] == ["replaced"]


def test_another_outcome_after_the_first_is_a_conflict(house: House, user: User) -> None:
    agreed = user.agree("game", "buy")
    grant = user.granted(agreed)
    user.receipt(grant)
    assert user.refused(user.receipt, grant, "failed") == "receipt_conflict"
    assert states(house) == {agreed.agreement: "installed"}
    assert house.unbilled().balance == PRICE_OF_GAME


def test_a_receipt_of_another_terminal_or_installation_is_refused(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "buy"))
    assert user.refused(house.user("T-2").receipt, grant, "failed") == "unknown_agreement"
    assert user.refused(user.receipt, grant, "failed", installation="another") == "unknown_delivery"
    assert house.unbilled().balance == PRICE_OF_GAME


def test_a_receipt_before_any_grant_is_refused(house: House, user: User) -> None:
    agreed = user.agree("notes", "free")
    grant = DeliveryGrant(agreed.agreement, "inst", "notes", "1.0", "", b"", 0, False, b"", 0, 0)
    assert user.refused(user.receipt, grant) == "unknown_delivery"


def test_a_receipt_that_was_altered_is_refused(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "buy"))
    forged = sign(Ed25519PrivateKey.generate(), "delivery-receipt", b"x")
    assert user.refused(user.say, Receipt(forged)) == "bad_document"
    assert states(house)[grant.agreement] == "granted"


def test_a_newer_release_ends_the_older_one_and_what_was_granted_to_it(house: House, user: User) -> None:
    older = user.take("game", "per-use")
    house.clock.advance(DAY)
    house.publish("game", "1.1", b"newer", sealed=True)
    house.interrogated("T-1", Configuration(hardware=PLAIN.hardware, catalogue_items={"game": "1.0"}))
    newer = user.take("game", "buy")
    removed = {row.id: row.removed_at for row in house.rows(Installation)}
    assert removed == {older.installation: NOW + DAY, newer.installation: None}
    assert house.unbilled().reserved == 0


def test_a_terminal_that_was_sold_still_tells_that_it_failed(house: House, user: User) -> None:
    grant = user.granted(user.agree("game", "buy"))
    house.change(lambda c: parties.bind_terminal(c, "T-1", "A-2", NOW))
    assert house.user("T-1", "A-2").receipt(grant, "failed").charge == "reversed"
    assert house.unbilled("A-1").balance == 0


def test_the_digest_that_was_quoted_is_that_of_the_package_before_it_was_sealed(house: House, user: User) -> None:
    import hashlib

    user.agree("game", "buy")
    [release] = house.rows(Release, product="game")
    assert release.digest == hashlib.sha256(GAME).digest() != release.sha256
