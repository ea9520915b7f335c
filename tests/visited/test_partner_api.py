"""Home's API for partners: who may call, and for which network."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from operator_samples import NOW, key_of
from starlette.testclient import TestClient
from visited_samples import HOME, VISITED, Lands

from operator_server.people import persons, tokens
from operator_server.people.passwords import one_time_password
from operator_server.visited.partners import NewPartner, put_partner
from operator_server.web.app import create_app
from operator_server.web.calls import Web
from operator_server.web.gate import Gate
from signalling.codes import messages as m
from signalling.proof import sign

BASE = "/api/v1/roaming"


@pytest.fixture
def client(lands: Lands) -> TestClient:
    operator = lands.home.operator
    web = Web(operator, lands.home.offers, gate=Gate(operator, known_seconds=0))
    return TestClient(create_app(operator.repository_dir, web=web), base_url="https://testserver")


def token(lands: Lands, name: str) -> str:
    def make(connection: object) -> str:
        persons.create_person(connection, name, "partner", one_time_password(), NOW, actor="cli:test")  # type: ignore[arg-type]
        return tokens.create_token(
            connection,
            name,
            "roaming",
            ["roaming.settle"],
            timedelta(days=9),
            NOW,
            actor="cli:test",  # type: ignore[arg-type]
        ).secret

    return lands.home.change(make)  # type: ignore[no-any-return]


def registration(counter: int, network: str = VISITED) -> dict[str, str]:
    uplink = m.Uplink(terminal="T-1", home=HOME, network=network, counter=counter, message=m.Register(0))
    signed = sign(key_of("T-1"), m.PURPOSE, m.encode_uplink(uplink))
    return {
        "document": base64.b64encode(signed.document).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }


def test_a_token_speaks_for_its_partner_alone(lands: Lands, client: TestClient) -> None:
    own = lands.home.operator
    secret = token(lands, "north")
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.post(f"{BASE}/registrations", json=registration(1)).status_code == 401
    answer = client.post(f"{BASE}/registrations", json=registration(1), headers=headers)
    assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (403, "unknown_network")
    lands.home.change(
        lambda c: put_partner(c, own.vault, NewPartner(VISITED, "", user="north"), HOME, NOW, actor="cli:test")
    )
    other = client.post(f"{BASE}/registrations", json=registration(1, "south.example"), headers=headers)
    assert (other.status_code, other.json()["detail"].partition(":")[0]) == (409, "bad_registration")
    told = client.post(f"{BASE}/registrations", json=registration(1), headers=headers)
    assert (told.status_code, told.json()["terminal"]) == (200, "T-1")
    again = client.post(f"{BASE}/registrations", json=registration(1), headers=headers)
    assert (again.status_code, again.json()["detail"].partition(":")[0]) == (409, "replayed")
    assert client.get("/api/v1/accounts", headers=headers).status_code == 403
