"""docs/protocol.md says what the product does: its tables, its codes, its vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import make_vectors
import msgspec
import pytest

from operator_server.validation.comparison import Validity
from signalling import documents, messages

ROOT = Path(__file__).parents[2]
TEXT = make_vectors.PROTOCOL.read_text(encoding="utf-8")
STRUCTS: dict[str, type[msgspec.Struct]] = {
    **{kind.TYPE: kind for kind in (*messages.FROM_SERVER, *messages.FROM_TERMINAL)},
    **{
        kind.__name__: kind
        for kind in (
            messages.OfferEntry,
            messages.ModeTerms,
            messages.CounterOutcome,
            messages.InstallationStatus,
            messages.ChargeStatus,
            *documents.Document.__subclasses__(),
        )
    },
}
SENDERS = {
    kind: " and ".join(
        name
        for name, types in (("server", messages.FROM_SERVER), ("terminal", messages.FROM_TERMINAL))
        if STRUCTS[kind] in types
    )
    for kind in STRUCTS
}
_HEAD = re.compile(r"^#### `(\w+)`|\(`(\w+)`\):$")
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| [^|]*\|$")
_CODE_ROW = re.compile(r"^\| `(\w+)` \| .* \|$", re.MULTILINE)


def tables() -> dict[str, dict[str, str]]:
    """Field to type, for each message, document and part of them."""
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in TEXT.split("\n## 6.")[1].split("\n## 8.")[0].splitlines():
        if head := _HEAD.search(line):
            fields = found[head[1] or head[2]] = {}
        elif (row := _ROW.match(line)) and row[1] != "field":
            fields[row[1]] = row[2]
    return found


def wire_type(annotation: Any) -> str:
    """How the document names a type."""
    if annotation is NoneType:
        return "nil"
    named = {messages.Id: "id", messages.Text: "text", messages.Word: "word", messages.Digest: "digest",
             messages.Signature: "signature", messages.Instant: "instant", messages.Count: "count",
             messages.Micros: "micros", messages.Signed: "signed"}  # fmt: skip
    if annotation in named:
        return named[annotation]
    if get_origin(annotation) is Annotated:
        base, meta = get_args(annotation)
        inner = wire_type(base)
        if isinstance(meta, msgspec.Meta) and meta.max_length is not None:
            return f"{inner} {meta.max_length}"
        return inner
    return plain_type(annotation)


def plain_type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is list:
        return f"[{wire_type(inner[0])}]"
    if origin is tuple:
        return f"[{', '.join(map(wire_type, inner))}]"
    if origin is dict:
        return f"map of {wire_type(inner[0])} to {wire_type(inner[1])}"
    if inner and NoneType in inner:
        return " or ".join(map(wire_type, inner))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return "map"
    return {int: "int", str: "str", bytes: "bin", bool: "bool"}.get(annotation, "str")


def test_every_message_and_document_stands_in_the_text() -> None:
    assert set(tables()) == set(STRUCTS)


@pytest.mark.parametrize("kind", sorted(STRUCTS))
def test_fields_types_and_defaults_are_as_the_text_says(kind: str) -> None:
    said = tables()[kind]
    fields = msgspec.structs.fields(STRUCTS[kind])
    assert list(said) == [field.encode_name for field in fields]
    for field in fields:
        type_, _, default = said[field.encode_name].partition(" = ")
        assert type_ == wire_type(field.type), field.name
        value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        shown = "" if value is msgspec.NODEFAULT else json.dumps(value).replace("null", "nil")
        assert default == shown, field.name


@pytest.mark.parametrize("kind", sorted(kind for kind in STRUCTS if SENDERS[kind]))
def test_who_sends_a_message_is_as_the_text_says(kind: str) -> None:
    assert f"#### `{kind}` ({SENDERS[kind]})\n" in TEXT


@pytest.mark.parametrize("kind", documents.Document.__subclasses__(), ids=lambda kind: kind.__name__)
def test_purposes_are_as_the_text_says(kind: type[documents.Document]) -> None:
    assert re.search(
        rf"^#### `{kind.__name__}`: purpose `{kind.PURPOSE}`, by the (server|terminal)$", TEXT, re.MULTILINE
    )


def test_the_text_lists_exactly_the_codes_that_the_server_uses() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("operator_server", "charging", "offers")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    errors = set(
        re.findall(r'(?:\bError|ExchangeFault|_fault|_refuse)\(\s*(?:events, |interview, )?"([a-z_]+)"', source)
    )
    refusals = set(re.findall(r'(?:\bRefused|NotAgreed)\(\s*"([a-z_]+)"', source))
    if 'f"release_{validity}"' in source:
        refusals |= {f"release_{validity}" for validity in get_args(Validity) if validity != "valid"}
    told_errors, told_refusals = TEXT.split("\n## 10.")[1].split("\n## 11.")[0].split("\nRefusal codes:")
    assert set(_CODE_ROW.findall(told_errors)) == errors
    assert set(_CODE_ROW.findall(told_refusals)) == refusals


def test_the_vectors_in_the_text_are_those_of_the_product() -> None:
    written = make_vectors.written()
    assert written == make_vectors.vectors(written), "run tests/protocol/make_vectors.py"
