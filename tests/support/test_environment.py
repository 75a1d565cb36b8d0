"""Which variables the commands of a spec get."""

import pytest

from scaler.support.environment import belongs_to_scaler, is_credential, ordinary_environment, withheld

CREDENTIALS = [
    ("HCLOUD_TOKEN", "x"),
    ("HCLOUD_TOKEN_FILE", "/run/token"),
    ("DIGITALOCEAN_ACCESS_TOKEN", "x"),
    ("PULUMI_CONFIG_PASSPHRASE", "x"),
    ("PULUMI_CONFIG_PASSPHRASE_FILE", "/run/passphrase"),
    ("PULUMI_ACCESS_TOKEN", "x"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_PROFILE", "prod"),
    ("AZURE_STORAGE_SAS_TOKEN", "x"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json"),
    ("GITHUB_TOKEN", "x"),
    ("CI_JOB_TOKEN", "x"),
    ("DEPLOY_KEY", "x"),
    ("DB_PASSWORD", "x"),
    ("MYSQLPASSWORD", "x"),
    ("MYSQL_PWD", "x"),
    ("SMTP_PASS", "x"),
    ("SSHPASS", "x"),
    ("CI_JOB_JWT_V2", "x"),
    ("githubToken", "x"),
    ("PRIVATEKEY", "x"),
    ("PGPASSFILE", "/root/.pgpass"),
    ("PULUMI_BACKEND_URL", "s3://bucket"),
    ("DATABASE_URL", "postgres://me:secret@host/db"),
    ("REDIS_URL", "redis://:secret@host"),
]
CREDENTIALS += [
    ("OP_SESSION_team", "x"),
    ("BW_SESSION", "x"),
    ("SLACK_WEBHOOK_URL", "https://hooks.test/T/B/x"),
    ("APP_CONNECTIONSTRING", "Server=h;Pwd=1"),
    ("STORAGE_CONNECTION_STRING", "x"),
    ("LDAP_BINDPW", "x"),
    ("SESSION_COOKIE", "x"),
    ("GIT_CONFIG_VALUE_0", "AUTHORIZATION: basic x"),
    ("ORIGIN", "https://token@git.test/x"),
    ("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"),
]

ORDINARY = [
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus"),
    ("XDG_SESSION_ID", "1"),
    ("OLDPWD", "/home"),
    ("PAGE", "https://a.test/users/@me?to=a@b.test"),
    ("REMOTE", "ssh://git@git.test/x"),
    ("PATH", "/usr/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("SSH_AUTH_SOCK", "/run/agent"),
    ("KUBECONFIG", "/root/.kube/config"),
    ("KEYBOARD", "de"),
    ("MONKEY", "1"),
    ("PWD", "/srv/shop"),
    ("OLDPWD", "/srv"),
    ("SSH_ASKPASS", "/usr/bin/askpass"),
    ("COMPASS", "1"),
    ("QUEUE_URL", "https://queue.example/path?at=12:30"),
    ("https_proxy", "http://proxy:3128"),
]


@pytest.mark.parametrize(("name", "value"), CREDENTIALS, ids=lambda value: str(value)[:30])
def test_a_credential_is_withheld_unless_it_is_named(name: str, value: str) -> None:
    assert is_credential(name, value)
    environ = {name: value, "PATH": "/usr/bin"}
    assert ordinary_environment(environ) == {"PATH": "/usr/bin"}
    assert ordinary_environment(environ, [name]) == environ
    assert withheld(environ) == [name]


@pytest.mark.parametrize(("name", "value"), ORDINARY, ids=lambda value: str(value)[:30])
def test_everything_else_is_handed_on(name: str, value: str) -> None:
    assert ordinary_environment({name: value}) == {name: value}


def test_the_clouds_the_engine_s_and_the_state_s_variables_are_scaler_s_own() -> None:
    own = ("HCLOUD", "DIGITALOCEAN", "PULUMI", "AWS", "AZURE", "GOOGLE", "PGPASS")
    assert [name for name, _ in CREDENTIALS if belongs_to_scaler(name)] == [
        name for name, _ in CREDENTIALS if name.startswith(own)
    ]
    assert not any(belongs_to_scaler(name) for name, _ in ORDINARY)
