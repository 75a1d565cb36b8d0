"""Invalid lines at the top level: what is reported, and whether the JSON Schema refuses them too."""

from pathlib import Path

import pytest

from tests.config.spec_files import check, problems, spec_with, write

MONEY = "must be an amount of money of more than 0, such as 150 or 99.90"
_TARGETS = "url, command and apprise_env"


AT_TOP: list[tuple[str, str, bool]] = [
    ("cloud: hetzer", "cloud must be hetzner or digitalocean, not 'hetzer'; did you mean hetzner?", True),
    ("cloud: aws", "cloud must be hetzner or digitalocean, not 'aws'; known: hetzner, digitalocean", True),
    ("cloud: [hetzner]", "cloud must be hetzner or digitalocean, not a list", True),
    ("cloud:", "cloud has no value; give one, or remove the line", True),
    ("endpoint: embeded", "endpoint must be embedded or an http(s) URL, not 'embeded'; did you mean embedded?", True),
    (
        "endpoint: localhost:8080",
        "endpoint must be embedded or an http(s) URL, not 'localhost:8080'; known: embedded",
        True,
    ),
    ("endpoint: http://", "endpoint must be embedded or an http(s) URL, not 'http://'; known: embedded", True),
    (
        "endpoint: https://example.com/v1?x=1",
        "endpoint is a URL that no client of a cloud takes; leave out what follows a ? or #",
        False,
    ),
    *(
        (
            f"endpoint: '{url}'",
            "endpoint is a URL that no client of a cloud takes; write it as https://host/path, in lower case",
            sees,
        )
        for url, sees in (("HTTP://LOCALHOST:19555/v1", True), ("http://[::1%lo]:19555/v1", False))
    ),
    ("endpoint: http://h:x", "endpoint must be embedded or an http(s) URL, not 'http://h:x'; known: embedded", False),
    (
        "endpoint: http://me:secret@host",
        "endpoint must not hold credentials; keep them in environment variables",
        False,
    ),
    (
        "endpoint: http://me:secret@host:x",
        "endpoint must not hold credentials; keep them in environment variables",
        False,
    ),
    ("endpoint: http://key@host", "endpoint must not hold credentials; keep them in environment variables", False),
    ("endpoint: 3", "endpoint must be embedded or an http(s) URL, not '3'; known: embedded", True),
    (
        "endpoint: http://api.example/v1",
        "endpoint would send the token in clear text to 'api.example'; write https://; plain HTTP is for this machine "
        "only",
        False,
    ),
    ("env: HCLOUD_TOKEN", "env must be a list, not 'HCLOUD_TOKEN'; write [HCLOUD_TOKEN]", True),
    ("env: [KEY=s3cret]", "env[0] must be the name of a variable, such as HCLOUD_TOKEN; give no value", True),
    (
        "backend: ./state",
        "backend must be the URL of a Pulumi backend, not './state'; known: file, s3, gs, azblob, postgres, https",
        True,
    ),
    ("backend: fil://x", "backend must be the URL of a Pulumi backend, not 'fil://x'; did you mean file?", True),
    (
        "backend: postgres://me:secret@host/db",
        "backend must not hold credentials; keep them in environment variables",
        False,
    ),
    ("plugin: offical", "plugin must be scaler or official, not 'offical'; did you mean official?", True),
    ("limit:", "limit has no value, and would limit nothing; give one, or remove the line", False),
    ("endpoint:", "endpoint has no value; give one, or remove the line", False),
    ("backend:", "backend has no value; give one, or remove the line", False),
    ("limit: null", "limit has no value, and would limit nothing; give one, or remove the line", False),
    ("budget:", "budget has no value, and would limit nothing; give one, or remove the line", False),
    ("limit: 2", "limit must be at least the groups' counts together (3), not 2", False),
    ("limit: -1", "limit must be 0 or more, not -1", True),
    ("limit: '5'", "limit must be a whole number, not '5'; remove the quotes", True),
    ("budget: 150", "budget must be a mapping, not 150", True),
    ("budget: {}", "budget.per_month is missing; add it", True),
    ("budget: {per_month: 0}", f"budget.per_month {MONEY}, not 0", True),
    ("budget: {per_month: -1}", f"budget.per_month {MONEY}, not -1", True),
    ("budget: {per_month: lots}", f"budget.per_month {MONEY}, not 'lots'", True),
    ("budget: {per_month: 1e3}", f"budget.per_month {MONEY}, not '1e3'", True),
    ("budget: {per_month: true}", f"budget.per_month {MONEY}, not true", True),
    ("notify: https://h/", "notify must be a list, not 'https://h/'; write [https://h/]", True),
    ("notify: https://h/T0/s3cr3t", "notify must be a list, not 'https://h/…'; write it in [ ]", True),
    (
        'plugin: "#cloud-config password: x"',
        "plugin must be scaler or official, not a text of 25 characters; known: scaler, official",
        True,
    ),
    ("notify: [https://h/]", "notify[0] must be a mapping, not 'https://h/'", True),
    ("notify: [{}]", f"notify[0] must have exactly one of the keys {_TARGETS}", True),
    ("notify: [{url: null}]", f"notify[0] must have exactly one of the keys {_TARGETS}", False),
    (
        "notify: [{url: 'http://h', command: [x]}]",
        f"notify[0] must have exactly one of the keys {_TARGETS}",
        True,
    ),
    ("notify: [{ulr: 'http://h'}]", "notify[0].ulr is not a known key; did you mean url?", True),
    ("notify: [{url: 'file:///x'}]", "notify[0].url must be an http(s) URL; write it as https://host/path", True),
    ("notify: [{url: 'me:s3cr3t@h'}]", "notify[0].url must be an http(s) URL; write it as https://host/path", True),
    (
        "notify: [{url: 'https://s3cr3t@h/'}]",
        "notify[0].url must not hold credentials; keep them in environment variables",
        False,
    ),
    ("notify: [{url: 'http://h', events: []}]", "notify[0].events must not be empty; name at least one", True),
    (
        "notify: [{url: 'http://h', events: [server.eror]}]",
        "notify[0].events[0] names no event: 'server.eror'; did you mean server.errored?",
        False,
    ),
    (
        "notify: [{url: 'http://h', events: [server.*, sever.*]}]",
        "notify[0].events[1] names no event: 'sever.*'; did you mean server.*?",
        False,
    ),
    (
        "notify: [{command: [../x]}]",
        "notify[0].command[0] must not lead out of the project folder, as '../x' does; write an absolute path",
        False,
    ),
    (
        "policies: [x]",
        "policies[0] names what does not exist: x; the path is relative to the project folder",
        False,
    ),
    (
        "policies: [stacks]",
        "policies[0] names a folder that is no policy pack: stacks; a pack has a PulumiPolicy.yaml",
        False,
    ),
    (
        "policies: [plain.sh]",
        "policies[0] names a file that may not be executed: plain.sh; run chmod +x plain.sh",
        False,
    ),
    ("policies: [{level: advisory}]", "policies[0].path is missing; add it", True),
    (
        "policies: [{path: drain.sh, level: remediate}]",
        "policies[0].level must be mandatory or advisory, not 'remediate'; known: mandatory, advisory",
        True,
    ),
    (
        "policies: [{path: drain.sh, config: {a: remediate}}]",
        "policies[0].config.a must be mandatory, advisory, disabled or a mapping of settings, not 'remediate'",
        True,
    ),
    (
        "policies: [{path: drain.sh, config: {a: {enforcementLevel: on}}}]",
        "policies[0].config.a.enforcementLevel must be one of mandatory, advisory, disabled, not 'on'",
        True,
    ),
    ("retention: 7", "retention needs a unit, which 7 has not; write 7s, or such as 10m or 1h30m", True),
    ("retention: 9999d", "retention must be more than 0s and at most 3650d, not '9999d'", False),
    ("retention: 1w", "retention must be a duration such as 90s, 10m or 1h30m, not '1w'", True),
    ("count: 3", "count is not a key here; it belongs in a group", True),
    ("group: {}", "group is not a known key; did you mean groups?", True),
    (
        "xyz: 1",
        "xyz is not a known key; known: cloud, endpoint, backend, plugin, adopt, accept_loss, limit, budget, "
        "notify, env, policies, retention, "
        "groups",
        True,
    ),
    (
        "hcloud_token: abc",
        "hcloud_token is not a key: credentials are never in the spec; set HCLOUD_TOKEN or DIGITALOCEAN_TOKEN",
        True,
    ),
]


@pytest.mark.parametrize(("line", "message", "schema_sees"), AT_TOP, ids=[line for line, _, _ in AT_TOP])
def test_a_bad_line_at_the_top_level(project: Path, line: str, message: str, schema_sees: bool) -> None:
    text = spec_with("start_within: 10m")[0]
    text = text.removeprefix("cloud: hetzner\n") if line.startswith("cloud") else text
    check(write(project, f"{text}\n{line}\n"), [f"{text.count(chr(10)) + 2}: {message}"], schema_sees)


def test_a_key_that_holds_a_secret_is_not_quoted(project: Path) -> None:
    for key in ("password=s3cr3t", "#cloud-config password: s3cr3t", "https://hooks.example/s3cr3t"):
        (problem,) = problems(write(project, f'{spec_with("start_within: 10m")[0]}\n"{key}": x\n'))
        assert "is not a known key" in problem
        assert "s3cr3t" not in problem
