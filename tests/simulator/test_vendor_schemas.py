"""The check of every answer against the vendors' documents finds what it is there for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.deviations import KNOWN
from tests.support.schema_check import CHECK
from tests.support.sim_http import Http
from tests.support.vendor_schemas import VARIABLE, Exchanged, Record, Schemas, folder

SSH_KEY = {"id": 1, "name": "deploy", "fingerprint": "b7:2f", "public_key": "ssh-ed25519 AAAA", "labels": {}}
CREATED = {"created": "2026-11-28T12:00:00Z"}


@pytest.fixture
def schemas() -> Schemas:
    where = folder()
    if where is None:
        pytest.skip(f"the vendors' documents are not beside the checkout, and {VARIABLE} is not set")
    return Schemas(where)


def get_key(body: object, *, status: int = 200, method: str = "GET", request: object = None) -> Exchanged:
    sent = b"" if request is None else json.dumps(request).encode()
    return Exchanged(method, "/v1/ssh_keys/1", sent, status, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("exchanged", "where", "what"),
    [
        (get_key({"ssh_key": SSH_KEY}), "ssh_key", "'created' is a required property"),
        (get_key({"ssh_key": {**SSH_KEY, **CREATED, "id": "1"}}), "ssh_key/id", "str is not of type integer"),
        (get_key({"ssh_key": {**SSH_KEY, **CREATED, "x": 1}}), "ssh_key/x", "a field that the document does not have"),
        (get_key({}, status=202), "", "the document has no such status"),
        (get_key({}, status=404), "", "'error' is a required property"),
        (get_key({}, method="DELETE", status=204), "", "a body where there is none"),
        (
            get_key({"ssh_key": {**SSH_KEY, **CREATED}}, method="PUT", request={"name": 7}),
            "name",
            "int is not of type string",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_deviation_is_found(schemas: Schemas, exchanged: Exchanged, where: str, what: str) -> None:
    assert [(each.where, each.what) for each in schemas.deviations(exchanged)] == [(where, what)]


def test_what_is_as_documented_is_none(schemas: Schemas) -> None:
    assert list(schemas.deviations(get_key({"ssh_key": {**SSH_KEY, **CREATED}}))) == []
    assert schemas.checked["GET /v1/ssh_keys/{id}"] == 1


def test_a_path_that_no_document_has_is_counted_and_not_checked(schemas: Schemas) -> None:
    assert list(schemas.deviations(Exchanged("GET", "/v2/projects", b"", 200, b"{}"))) == []
    assert (schemas.checked.total(), schemas.unknown["GET /v2/projects"]) == (0, 1)


def test_each_test_is_watched(http: Http, pytestconfig: pytest.Config) -> None:
    check = pytestconfig.stash[CHECK]
    if check.schemas is None:
        pytest.skip(f"the vendors' documents are not beside the checkout, and {VARIABLE} is not set")
    before = check.record.count
    assert http.get("/v1/locations").status_code == 200
    assert check.record.count == before + 1


@pytest.mark.parametrize("fault", [{"effect": "truncated_json"}, {"effect": "respond", "status": 503, "html": True}])
def test_what_a_fault_spoils_is_not_held_against_the_document(http: Http, world: Any, fault: dict[str, Any]) -> None:
    world.add_fault(**fault)
    assert b"locations" not in http.get("/v1/locations").content[-30:]


def test_the_same_exchange_counts_once() -> None:
    record = Record()
    for _ in range(2):
        record._add(get_key({"ssh_key": SSH_KEY}))
    assert (record.count, len(record.take()), record.take()) == (2, 1, [])


def test_each_known_deviation_has_a_source_and_is_listed_once() -> None:
    assert all(known.source for known in KNOWN)
    assert len({(known.operation, known.where, known.what) for known in KNOWN}) == len(KNOWN)
