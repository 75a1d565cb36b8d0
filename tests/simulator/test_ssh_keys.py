"""SSH keys are refused as the vendors refuse them: by type, by form and by fingerprint."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from scaler.simulator import SimulatedWorld
from scaler.simulator.ssh_keys import fingerprint_of, is_well_formed
from tests.simulator.droplets import refusal
from tests.support.sim_http import Http

TYPES = (("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"))


def wire(*fields: bytes) -> str:
    """Strings in SSH's wire format, as base64."""
    return base64.b64encode(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).decode()


GOOD = f"ssh-ed25519 {wire(b'ssh-ed25519', bytes(range(32)))} me@home"
TOKEN_KEY = f"sk-ssh-ed25519@openssh.com {wire(b'sk-ssh-ed25519@openssh.com', bytes(32), b'ssh:')}"
BROKEN = {
    "no base64": "ssh-ed25519 not-base64!",
    "nothing": "ssh-ed25519 AAAA",
    "torn": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbedded",
    "short": f"ssh-ed25519 {wire(b'ssh-ed25519', bytes(31))}",
    "of another type": f"ssh-rsa {wire(b'ssh-ed25519', bytes(32))}",
    "with something more": f"ssh-ed25519 {wire(b'ssh-ed25519', bytes(32), b'x')}",
    "with too little": f"ssh-rsa {wire(b'ssh-rsa', b'e')}",
    "of another curve": f"ecdsa-sha2-nistp256 {wire(b'ecdsa-sha2-nistp256', b'nistp384', b'point')}",
    "of two lines": f"{GOOD}\n{GOOD}",
}


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
@pytest.mark.parametrize(("kind", "bits"), TYPES)
def test_what_ssh_keygen_makes_is_accepted_with_its_fingerprint(
    http: Http, tmp_path: Path, kind: str, bits: str
) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-f", file], check=True)
    told = subprocess.run(["ssh-keygen", "-l", "-E", "md5", "-f", file], check=True, capture_output=True, text=True)
    body = {"name": "made", "public_key": file.with_suffix(".pub").read_text()}
    for path in ("/v1/ssh_keys", "/v2/account/keys"):
        answer = http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        assert f"MD5:{answer.json()['ssh_key']['fingerprint']} " in told.stdout


@pytest.mark.parametrize("key", BROKEN.values(), ids=BROKEN)
def test_a_broken_key_is_refused_by_both(http: Http, key: str) -> None:
    """[field] terraform-hcloud-kube-hetzner#310 (`invalid_input`), chadgeary/cloudblock#94."""
    answer = http.post("/v1/ssh_keys", json={"name": "mine", "public_key": key})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_input")
    assert error["details"]["fields"] == [{"name": "public_key", "messages": ["SSH key is invalid"]}]
    words = "Fingerprint could not be generated, please make sure your key is valid"
    answer = http.post("/v2/account/keys", json={"name": "mine", "public_key": key})
    assert refusal(answer) == (422, "unprocessable_entity", words)


@pytest.mark.parametrize("key", ["---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "/home/me/key.pub x", "ssh-ed448 AAAA"])
def test_a_key_of_no_known_type_is_refused_with_those_that_are_known(http: Http, key: str) -> None:
    """[field] terraform-hcloud-kube-hetzner#310, vagrant-digitalocean#252."""
    error = http.post("/v1/ssh_keys", json={"name": "mine", "public_key": key}).json()["error"]
    (field,) = error["details"]["fields"]
    assert "supported types: ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256" in field["messages"][0]
    status, _, words = refusal(http.post("/v2/account/keys", json={"name": "mine", "public_key": key}))
    assert status == 422
    assert words.startswith("Key invalid type, we support 'ssh-rsa', 'ssh-dss', ")


def test_a_key_on_a_token_is_known_to_hetzner_alone(http: Http) -> None:
    """[field] The lists of types in the two refusals."""
    assert http.post("/v1/ssh_keys", json={"name": "token", "public_key": TOKEN_KEY}).status_code == 201
    assert http.post("/v2/account/keys", json={"name": "token", "public_key": TOKEN_KEY}).status_code == 422


def test_the_key_of_a_new_world_is_one(world: SimulatedWorld) -> None:
    for cloud in ("hetzner", "digitalocean"):
        (key,) = world.things(cloud, "ssh_key")
        assert is_well_formed(key.body["public_key"])
        assert key.body["fingerprint"] == fingerprint_of(key.body["public_key"])
