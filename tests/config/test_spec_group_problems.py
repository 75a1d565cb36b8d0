"""Invalid lines of a group: what is reported, and whether the JSON Schema refuses them too."""

from pathlib import Path

import pytest

from tests.config.spec_files import check, spec_with, write

IN_GROUP: list[tuple[str, str, bool]] = [
    ("count: '3'", "count must be a whole number, not '3'; remove the quotes", True),
    ("count: three", "count must be a whole number, not 'three'", True),
    ("count: 3.0", "count must be a whole number, not '3.0'", True),
    ("count: 0755", "count must be a whole number, not '0755'", True),
    ("count: 1:30", "count must be a whole number, not '1:30'", True),
    ("count: true", "count must be a whole number, not true", True),
    ("count: [3]", "count must be a whole number, not a list", True),
    ("count: {a: 3}", "count must be a whole number, not a mapping", True),
    ("count:", "count has no value; give one, or remove the line", True),
    ("count: -1", "count must be 0 or more, not -1", True),
    ("count: 10001", "count must be 10000 or less, not 10001", True),
    (f"count: {'9' * 50}", "count must be a whole number, not a text of 50 characters", True),
    ("max:", "max has no value, and would limit nothing; give one, or remove the line", False),
    ("min: 4", "min must be at most count (3), not 4", False),
    ("autoscale: null", "autoscale has no value; give one, or remove the line", False),
    ("user_data: null", "user_data has no value; give one, or remove the line", False),
    ("lifetime: null", "lifetime has no value; give one, or remove the line", False),
    (
        "stop: {shutdown_within: null}",
        "stop.shutdown_within has no value; give one, or remove the line",
        False,
    ),
    ("min: null", "min has no value; give one, or remove the line", True),
    ("max: 2", "max must be at least count (3), not 2", False),
    ("max: many", "max must be a whole number, not 'many'", True),
    ("image: {}", "image must have exactly one of the keys selector and name", True),
    ("image: {selector: a, name: b}", "image must have exactly one of the keys selector and name", True),
    ("image: {selctor: a}", "image.selctor is not a known key; did you mean selector?", True),
    ("image: {id: 3}", "image.id is not a known key; known: selector, name", True),
    ("image: {name: }", "image.name has no value; give one, or remove the line", True),
    ("image: {name: [a]}", "image.name must be a text, not a list", True),
    ("image: {selector: ''}", "image.selector must not be empty", True),
    ("image: 0", "image must be an image's id, not 0", True),
    ("image: ''", "image must not be empty", True),
    (
        "image: my snapshot",
        "image must be a vendor's image such as ubuntu-24.04, or an id, not 'my snapshot'; "
        "name a snapshot of your own as {name: …} or {selector: …}",
        True,
    ),
    (
        "image: true",
        'image must be an image, not true; write {selector: "role=worker"}, {name: …}, an id, '
        "or a name of the vendor's such as ubuntu-24.04",
        True,
    ),
    *(
        (
            line.format('"-----BEGIN KEY-----\\nhunter2\\n-----END"'),
            f"{place} must be one line without control characters, not a text of 3 lines",
            True,
        )
        for line, place in (
            ("ssh_keys: [{}]", "ssh_keys[0]"),
            ("networks: [{}]", "networks[0]"),
            ("placement_group: {}", "placement_group"),
            ("image: {{name: {}}}", "image.name"),
            ("image: {{selector: {}}}", "image.selector"),
            ("type: {}", "type"),
            ("location: [fsn1, {}]", "location[1]"),
        )
    ),
    ('ssh_keys: ["a\\eb"]', r"ssh_keys[0] must be one line without control characters, not 'a\x1bb'", True),
    (
        'ssh_keys: ["deploy\\r\\n"]',
        "ssh_keys[0] must be one line without control characters, not 'deploy'; remove the white space around it",
        True,
    ),
    ("type: []", "type must not be empty; name at least one", True),
    ("type: [cx23, cx23]", "type[1] names 'cx23' a second time; remove one of them", True),
    ("type: [cx23, ]\n    # \n    location: ['']", "location[0] must not be empty", True),
    ("type: {a: b}", "type must be a list, not a mapping", True),
    ("type:", "type has no value; give one, or remove the line", True),
    ("location: ' '", "location must not be empty", True),
    ("location: [fsn1, [nbg1]]", "location[1] must be a text, not a list", True),
    ("ssh_keys: deploy", "ssh_keys must be a list, not 'deploy'; write [deploy]", True),
    ("ssh_keys: [a, null]", "ssh_keys[1] has no value; give one, or remove the line", True),
    ("ssh_keys: [a, b, a]", "ssh_keys[2] names 'a' a second time; remove one of them", True),
    (
        "user_data: absent",
        "user_data names a file that does not exist: absent; the path is relative to the spec",
        False,
    ),
    (
        "user_data: ../../beside",
        "user_data must not lead out of the project folder, as '../../beside' does; copy the file into it",
        False,
    ),
    (
        "user_data: /etc/hostname",
        "user_data must not lead out of the project folder, as '/etc/hostname' does; copy the file into it",
        False,
    ),
    (
        "user_data: link",
        "user_data must not lead out of the project folder, as 'link' does; copy the file into it",
        False,
    ),
    ("user_data: .", "user_data names a file that cannot be read: . (Is a directory)", False),
    ('user_data: "a\\0b"', "user_data names a file that cannot be read: a\\x00b (no file can have this name)", False),
    (
        'user_data: "#cloud-config\\nchpasswd: {list: [root:hunter2]}\\n"',
        "user_data names a file that does not exist: a text of 2 lines; a document itself belongs in user_data_inline",
        False,
    ),
    (
        f"ssh_key: {'t' * 64}",
        "ssh_key is not a known key; did you mean ssh_keys?",
        True,
    ),
    (
        f"user_data: {'t' * 64}",
        "user_data names a file that does not exist: a text of 64 characters; the path is relative to the spec",
        False,
    ),
    ("user_data: latin", "user_data names a file that is not UTF-8 text: latin", False),
    (
        "user_data_inline: x\n    user_data: x",
        "user_data cannot be given together with user_data_inline; remove one of them",
        True,
    ),
    (
        f"user_data_inline: {'x' * 32769}",
        "user_data_inline is too big: 32769 bytes; hetzner takes 32 KiB",
        False,
    ),
    ("labels: [a]", "labels must be a mapping, not a list", True),
    ("labels: {a: }", "labels.a has no value; give one, or remove the line", True),
    ("labels: {a: {b: c}}", "labels.a must be a text, not a mapping", True),
    ("labels: {managed-by: me}", "labels.managed-by is a label that scaler sets itself; choose another name", True),
    ("labels: {scaler-stack: x}", "labels.scaler-stack is a label that scaler sets itself; choose another name", True),
    (
        "labels: {a b: c}",
        "labels.a b is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last a letter or digit; "
        "before it perhaps a domain and a /",
        False,
    ),
    (
        "labels: {hetzner.cloud/a: c}",
        "labels.hetzner.cloud/a is no Hetzner label: at most 63 letters, digits, - _ and ., the first and last "
        "a letter or digit; before it perhaps a domain and a /",
        False,
    ),
    (
        "labels: {a: b c}",
        "labels.a must be at most 63 letters, digits, - _ and ., the first and last a letter or digit, "
        "or empty, not 'b c'",
        False,
    ),
    ("vpc: null", "vpc is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("monitoring: true", "monitoring is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("ipv6: false", "ipv6 is for digitalocean only, and this stack is on hetzner; remove it", True),
    ("public_ipv4: no", "public_ipv4 must be true or false, not 'no'; write false", True),
    ("public_ipv4: 'true'", "public_ipv4 must be true or false, not 'true'; write true", True),
    ("public_ipv6: 1", "public_ipv6 must be true or false, not 1", True),
    ("networks: internal", "networks must be a list, not 'internal'; write [internal]", True),
    ("placement_group: [a]", "placement_group must be a text, not a list", True),
    ("start_within: 600", "start_within needs a unit, which 600 has not; write 600s, or such as 10m or 1h30m", True),
    ("start_within: 10 m", "start_within must be a duration such as 90s, 10m or 1h30m, not '10 m'", True),
    ("start_within: 12:30", "start_within must be a duration such as 90s, 10m or 1h30m, not '12:30'", True),
    ("start_within: 30m1h", "start_within must be a duration such as 90s, 10m or 1h30m, not '30m1h'", True),
    ("start_within: -5m", "start_within must be a duration such as 90s, 10m or 1h30m, not '-5m'", True),
    ("start_within: 0s", "start_within must be more than 0s and at most 24h, not '0s'", False),
    ("start_within: 25h", "start_within must be more than 0s and at most 24h, not '25h'", False),
    ("start_within:", "start_within has no value; give one, or remove the line", True),
    ("protect: [web-1]", "protect[0] must be a server of this group, such as prod-worker-1, not 'web-1'", False),
    (
        "protect: [prod-worker-1, prod-worker-01]",
        "protect[1] must be a server of this group, such as prod-worker-1, not 'prod-worker-01'",
        False,
    ),
    ("scale_down: newst", "scale_down must be newest or oldest or billing, not 'newst'; did you mean newest?", True),
    ("scale_down: true", "scale_down must be newest or oldest or billing, not true", True),
    ("ready: running", "ready must be none or a mapping, not 'running'; write such as {tcp: 22}", True),
    ("ready: 22", "ready must be none or a mapping, not 22; write such as {tcp: 22}", True),
    ("ready:", "ready has no value; give one, or remove the line", True),
    ("ready: {}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("ready: {successes: 3}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("ready: {tcp: 22, command: [x]}", "ready must have exactly one of the keys tcp, http, command and function", True),
    ("healthy: {}", "healthy must have exactly one of the keys tcp, http, command and function", True),
    ("healthy: {tcp: 22, failures: 0}", "healthy.failures must be 1 or more, not 0", True),
    ("healthy: {tcp: 22, failurs: 2}", "healthy.failurs is not a known key; did you mean failures?", True),
    (
        "healthy: {tcp: 22, at_most: 0%}",
        "healthy.at_most must be a share from 1% to 100%, not '0%'; write such as 50%",
        True,
    ),
    (
        "healthy: {tcp: 22, at_most: 50}",
        "healthy.at_most must be a share from 1% to 100%, not 50; write such as 50%",
        True,
    ),
    ("ready: {tpc: 22}", "ready.tpc is not a known key; did you mean tcp?", True),
    ("ready: {tcp: 0}", "ready.tcp must be 1 or more, not 0", True),
    ("ready: {tcp: 65536}", "ready.tcp must be 65535 or less, not 65536", True),
    ("ready: {tcp: ssh}", "ready.tcp must be a whole number, not 'ssh'", True),
    ("ready: {tcp: 22, successes: 0}", "ready.successes must be 1 or more, not 0", True),
    ("ready: {tcp: 22, successes: 101}", "ready.successes must be 100 or less, not 101", True),
    ("ready: {http: 'ftp://{ip}/'}", "ready.http must be an http(s) URL; write it as https://host/path", True),
    ("ready: {http: 'http:///x'}", "ready.http must be an http(s) URL; write it as https://host/path", True),
    ("ready: {http: 'http://{ip}:x/'}", "ready.http must be an http(s) URL; write it as https://host/path", False),
    ("ready: {http: 'http://{ipv4}/'}", "ready.http has an unknown placeholder 'ipv4'; did you mean ip?", False),
    (
        "ready: {http: 'http://me:s3cr3t@{ip}/'}",
        "ready.http must not hold credentials; keep them in environment variables",
        False,
    ),
    ("in_service: lb=web", "in_service must be a mapping, not 'lb=web'", True),
    (
        "in_service: {label: a, tag: b}",
        "in_service.tag is for digitalocean only, and this stack is on hetzner; use label",
        True,
    ),
    ("in_service: {}", "in_service must have exactly one of the keys label and tag", True),
    ("in_service: {label: =web}", "in_service.label must be key=value, not '=web'; write such as \"lb=web\"", False),
    (
        "in_service: {label: scaler-id=x}",
        "in_service.label is a label that scaler sets itself; choose another name",
        False,
    ),
    (
        "labels: {lb: api}\n    in_service: {label: lb=web}",
        "in_service sets 'lb', which labels sets for all servers; remove it from labels",
        False,
    ),
    (
        "ready: {http: 'http://{private_ip}/'}",
        "ready uses {private_ip}, and servers of this group have no private network; add networks to it",
        False,
    ),
    (
        'stop: {drain: [ssh, "{private_ip}"]}',
        "stop uses {private_ip}, and servers of this group have no private network; add networks to it",
        False,
    ),
    (
        "public_ipv4: false\n    public_ipv6: false",
        "public_ipv6 cannot be false with public_ipv4, without a private network; add a network",
        False,
    ),
    (
        "networks: [inner]\n    firewalls: [web]\n    public_ipv4: false\n    public_ipv6: false",
        "public_ipv6 cannot be false with public_ipv4: firewalls need a public address; remove firewalls",
        False,
    ),
    (
        "count: 11\n    placement_group: apart",
        "placement_group cannot have all 11 servers: a placement group has at most 10; "
        "use several groups, each with a placement group of its own",
        False,
    ),
    ("image_changes: old", "image_changes must be new or roll, not 'old'; known: new, roll", True),
    (
        "roll: {windows: [{cron: often, for: 3h}]}",
        "roll.windows[0].cron must be a cron expression that comes true, such as 0 8 * * mon-fri, not 'often'",
        False,
    ),
    (
        "roll: {timezone: Berlin}",
        "roll.timezone must be a time zone such as Europe/Berlin, not 'Berlin'; did you mean Europe/Berlin?",
        False,
    ),
    ("stop: now", "stop must be a mapping, not 'now'", True),
    ("stop:", "stop has no value; give one, or remove the line", True),
    ("stop: {drian: [x]}", "stop.drian is not a known key; did you mean drain?", True),
    (
        "stop: {drained: [echo]}",
        "stop.drained needs drain, the command that begins to drain a server; add drain, or remove this",
        False,
    ),
    (
        "stop: {resume: [echo]}",
        "stop.resume needs drain, the command that begins to drain a server; add drain, or remove this",
        False,
    ),
    ("stop: {drain: []}", "stop.drain must not be empty; name the program, then its arguments", True),
    ("stop: {drain: ['', a]}", "stop.drain[0] must not be empty; name the program", True),
    ("stop: {drain: a b}", 'stop.drain must be a list of words, not \'a b\'; write ["a", "b"]', True),
    (
        "stop: {drain: [echo, {ip}]}",
        'stop.drain[1] must be a text, not a mapping; put a placeholder in quotes: "{ip}"',
        True,
    ),
    ('stop: {drain: [echo, "a\\0b"]}', "stop.drain[1] must not hold a NUL character", False),
    (
        "stop: {drain: [../drain.sh]}",
        "stop.drain[0] must not lead out of the project folder, as '../drain.sh' does; write an absolute path",
        False,
    ),
    (
        "stop: {drain: [bin/../../drain.sh]}",
        "stop.drain[0] must not lead out of the project folder, as 'bin/../../drain.sh' does; write an absolute path",
        False,
    ),
    (
        "stop: {drain: [./absent.sh]}",
        "stop.drain[0] names a file that does not exist: ./absent.sh; the path is relative to the project folder",
        False,
    ),
    (
        "stop: {drain: [./plain.sh]}",
        "stop.drain[0] names a file that may not be executed: ./plain.sh; run chmod +x ./plain.sh",
        False,
    ),
    (
        "stop: {drain_within: 5}",
        "stop.drain_within needs a unit, which 5 has not; write 5s, or such as 10m or 1h30m",
        True,
    ),
    ("stop: {shutdown_within: 2d}", "stop.shutdown_within must be more than 0s and at most 24h, not '2d'", False),
    (
        "stop: {on_drain_failure: kep}",
        "stop.on_drain_failure must be remove or keep, not 'kep'; did you mean keep?",
        True,
    ),
    ("region: fra1", "region is not a known key; did you mean location?", True),
    ("loction: fra1", "loction is not a known key; did you mean location?", True),
    ("limit: 3", "limit is not a key here; it belongs at the top level", True),
]


OCEAN_LINES: list[tuple[str, str, bool]] = [
    ("networks: []", "networks is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("public_ipv4: true", "public_ipv4 is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("keep_paid: true", "keep_paid is for hetzner only, and this stack is on digitalocean; remove it", True),
    ("labels: {a.b: c}", "labels.a.b is no DigitalOcean tag: only letters, digits, _ and - may be in it", False),
    ("labels: {scaler: ''}", "labels.scaler is a label that scaler sets itself; choose another name", False),
    (
        "labels: {a: 1.10}",
        "labels.a must be letters, digits, _ - and : (it becomes a DigitalOcean tag), not '1.10'",
        False,
    ),
    (
        f"labels: {{a: {'x' * 254}}}",
        "labels.a is too long: the tag key:value may have 255 characters",
        False,
    ),
    ("monitoring: yes", "monitoring must be true or false, not 'yes'; write true", True),
]


@pytest.mark.parametrize(("line", "message", "schema_sees"), IN_GROUP, ids=[line for line, _, _ in IN_GROUP])
def test_a_bad_line_in_a_group(project: Path, line: str, message: str, schema_sees: bool) -> None:
    (project / "latin").write_bytes("ü".encode("latin-1"))
    (project / "link").symlink_to("/etc/hostname")
    text, number = spec_with(line)
    check(write(project, text), [f"{number}: groups.worker.{message}"], schema_sees)


@pytest.mark.parametrize(("line", "message", "schema_sees"), OCEAN_LINES, ids=[line[:30] for line, _, _ in OCEAN_LINES])
def test_a_bad_line_in_a_group_at_digitalocean(tmp_path: Path, line: str, message: str, schema_sees: bool) -> None:
    text, number = spec_with(line, "digitalocean")
    check(write(tmp_path, text), [f"{number}: groups.worker.{message}"], schema_sees)
