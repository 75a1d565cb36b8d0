"""Which variables the commands of a spec get."""

import pytest

from scaler.support.environment import CommandEnvironment, belongs_to_scaler, is_needed

SCALER_S = [
    "HCLOUD_TOKEN",
    "HCLOUD_TOKEN_FILE",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_BACKEND_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PGPASSFILE",
]

WITHHELD = [
    *((name, "x") for name in SCALER_S),
    ("GITHUB_TOKEN", "x"),
    ("CI_JOB_JWT_V2", "x"),
    ("STRIPE_SK", "x"),
    ("LARAVEL_APPKEY", "x"),
    ("ENCRYPTION_SALT", "x"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer x"),
    ("CLIENT_ASSERTION", "x"),
    ("KUBECONFIG", "/root/.kube/config"),
    ("KUBECONFIG_DATA", "x"),
    ("ALERTS", "slack://x"),
    ("DEPLOY_HOST", "a.test"),
    ("path", "x"),
    ("PATH_TO", "x"),
    ("MY_PROXY", "x"),
    ("https_proxy", "http://me:secret@proxy:3128"),
    ("HTTPS_PROXY", "http://token@proxy:3128"),
    ("XDG_NOTE", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"),
]

NEEDED = [
    ("PATH", "/usr/bin"),
    ("HOME", "/root"),
    ("USER", "me"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "Europe/Berlin"),
    ("TMPDIR", "/var/scratch"),
    ("TERM", "xterm"),
    ("SSH_AUTH_SOCK", "/run/agent"),
    ("https_proxy", "http://proxy:3128"),
    ("HTTPS_PROXY", "http://proxy:3128"),
    ("no_grpc_proxy", "127.0.0.1"),
    ("SSL_CERT_FILE", "/etc/ca.pem"),
    ("XDG_CONFIG_HOME", "/root/.config"),
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus"),
    ("LD_LIBRARY_PATH", "/opt/lib"),
    ("VIRTUAL_ENV", "/srv/venv"),
    ("CI", "true"),
    ("SCALER_STATE_DIR", "/srv/state"),
]


@pytest.mark.parametrize(("name", "value"), WITHHELD, ids=lambda value: str(value)[:30])
def test_a_variable_is_withheld_unless_it_is_named(name: str, value: str) -> None:
    assert not is_needed(name, value)
    environ = {name: value, "PATH": "/usr/bin"}
    assert CommandEnvironment.of(environ) == CommandEnvironment({"PATH": "/usr/bin"}, frozenset({name}))
    assert CommandEnvironment.of(environ, [name]) == CommandEnvironment(environ)


@pytest.mark.parametrize(("name", "value"), NEEDED, ids=lambda value: str(value)[:30])
def test_what_any_program_needs_is_handed_on(name: str, value: str) -> None:
    assert CommandEnvironment.of({name: value}) == CommandEnvironment({name: value})


def test_a_text_misses_the_withheld_variables_that_it_names() -> None:
    environ = CommandEnvironment.of({"PATH": "/bin", "DEPLOY_HOST": "a", "PORT": "1", "_": "x", "A": "x", "name": "x"})
    text = "curl ${DEPLOY_HOST}:$PORT; _ $A $name $PATH $OTHER_PORT $UNSET"
    assert environ.missed_by(text) == ["DEPLOY_HOST", "PORT"]
    assert environ.missed_by("DEPLOY_HOSTS = MY_DEPLOY_HOST; PORT2") == []


def test_the_clouds_the_engine_s_and_the_state_s_variables_are_scaler_s_own() -> None:
    assert [name for name, _ in WITHHELD if belongs_to_scaler(name)] == SCALER_S
    assert not any(belongs_to_scaler(name) for name, _ in NEEDED)
