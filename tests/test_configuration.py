"""Settings: read, refused, passed on to children, shown; and what is generated where nothing is set."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.environment import ROOT, child_environment
from config.logs import log_socket
from config.settings import PREFIX, Settings, WrongSetting, load
from program.generated import resolve
from program.show_config import show_config

SECRETS = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


WRONG = {
    "MKTX_PORT": ["-1", "65536", "http", "5000.5", "5000\n5001"],
    "MKTX_GATEWAYS": ["0", "65", "many"],
    "MKTX_MAX_BODY_BYTES": ["0", "1e6", "1000000000000"],
    "MKTX_REQUEST_HEAD_TIMEOUT_S": ["0", "-1", "nan", "inf", "soon"],
    "MKTX_MONGODB_TIMEOUT_S": ["nan", "inf", "-inf", "1e999"],
    "MKTX_SHUTDOWN_GRACE_S": ["61"],
    "MKTX_MONGODB_DATABASE": ["a.b", "a b", "$db", "a" * 39, "../x"],
    "MKTX_MONGODB_DRIVER": ["mongoose", "PYMONGO "],
    "MKTX_PUBLIC_URL": ["ftp://shop.example", "shop.example", "https://", "javascript:alert(1)"],
    "MKTX_X_API_BASE_URL": ["api.x.com", "//api.x.com", "http://[::1", "https://api.x.com:port"],
    "MKTX_LOG_LEVEL": ["loud"],
    "MKTX_LOG_FORMAT": ["xml"],
    "MKTX_ACTOR_HOSTS": ["-1", "1000"],
    "MKTX_SANDBOX_RATE": ["-0.1", "nan"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSetting) as wrong:
        load()
    assert str(wrong.value).startswith(f"{name}: ")
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MKTX_MONGO_URI", "MKTX_MONGODB_URI"),
        ("MKTX_MONGODB_URL", "MKTX_MONGODB_URI"),
        ("MKTX_X_CONSUMERKEY", "MKTX_X_CONSUMER_KEY"),
        ("mktx_prot", "MKTX_PORT"),
        ("MKTX_X_BEARER_TOKENS", "MKTX_X_BEARER_TOKEN"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "canary")
    with pytest.raises(WrongSetting) as wrong:
        load()
    assert str(wrong.value) == f"{name}: there is no such setting; the nearest is {nearest}"


def test_a_variable_that_is_like_no_setting_is_refused_with_some_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKTX_", "canary")
    with pytest.raises(WrongSetting, match=r"^MKTX_: there is no such setting; the nearest is MKTX_[A-Z_]+$"):
        load()


def test_names_in_small_letters_empty_variables_and_those_of_others_are_no_mistakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("mktx_port", "4711"), ("MKTX_MONGO_URI", ""), ("MKTXX", "1"), ("XMKTX_PORT", "1")):
        monkeypatch.setenv(name, value)
    assert load().port == 4711


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 5000, Path(".data"))
    assert (settings.mongodb_database, settings.ray_address) == ("mktx", "")
    assert (settings.x_api_base_url, settings.upload_base_url) == ("https://api.x.com", "https://api.x.com")
    assert settings.max_body_bytes == 1024 * 1024
    assert settings.uses_sandbox
    assert not any(getattr(settings, name).get_secret_value() for name in SECRETS)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(PREFIX + name.upper(), "")
    assert load() == Settings.model_construct(**{n: f.default for n, f in Settings.model_fields.items()})


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


@pytest.mark.parametrize("name", SECRETS)
def test_no_text_of_the_settings_holds_a_secret(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), "canary-4711")
    settings = load()
    assert getattr(settings, name).get_secret_value() == "canary-4711"
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_every_setting_whose_name_says_secret_is_one() -> None:
    words = ("secret", "password", "token", "api_key", "encryption")
    named = {name for name in Settings.model_fields if any(word in name for word in words)}
    assert named - {"access_token_ttl_s", "refresh_token_ttl_s"} <= set(SECRETS)
    # It holds a password where the database has one.
    assert "mongodb_uri" in SECRETS


# --- children


@given(
    st.fixed_dictionaries(
        {
            "port": st.integers(0, 65535),
            "x_consumer_secret": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(
                SecretStr
            ),
            "jwt_public_key": st.sampled_from(["", "-----BEGIN-----\nabc\n-----END-----\n"]),
            "x_timeout_s": st.floats(0.001, 1e6),
            "log_level": st.sampled_from(["debug", "error"]),
            "data_dir": st.sampled_from([Path("/tmp/a b"), Path("/tmp/ü")]),
            "public_url": st.sampled_from(["", "https://shop.example/a"]),
        }
    )
)
def test_a_child_reads_the_very_settings_of_its_parent(values: dict[str, object]) -> None:
    settings = Settings.model_validate(values)
    environment = child_environment(settings)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            if name.startswith(PREFIX):
                patch.setenv(name, value)
        assert load() == settings


def test_a_child_gets_no_setting_that_its_parent_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKTX_X_BEARER_TOKEN", "of the environment")
    monkeypatch.setenv("PYTHONPATH", f"/first{os.pathsep}{ROOT}")
    environment = child_environment(Settings.model_construct(**Settings(x_bearer_token=SecretStr("")).model_dump()))
    assert "MKTX_X_BEARER_TOKEN" not in environment
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/first"]


def test_the_log_socket_has_a_path_that_the_kernel_takes_however_deep_the_data_is(tmp_path: Path) -> None:
    short = Settings(data_dir=Path("/d"))
    assert log_socket(short) == Path("/d/logs/lines.sock")
    deep = [Settings(data_dir=tmp_path / ("x" * 90) / name) for name in ("a", "b")]
    paths = [log_socket(settings) for settings in deep]
    assert all(len(str(path).encode()) <= 107 for path in paths)
    assert paths[0] != paths[1]
    assert log_socket(deep[0]) == paths[0]


# --- what is generated


def test_what_is_generated_stays_the_same(tmp_path: Path) -> None:
    first = resolve(Settings(data_dir=tmp_path / "new" / "data"))
    second = resolve(Settings(data_dir=tmp_path / "new" / "data"))
    assert first == second
    assert first.generated_password
    assert len(first.settings.jwt_secret.get_secret_value()) >= 32
    other = resolve(Settings(data_dir=tmp_path / "other"))
    for name in ("jwt_secret", "encryption_key", "admin_password"):
        assert getattr(other.settings, name) != getattr(first.settings, name)


def test_only_its_owner_can_read_what_is_generated(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    assert before is not None
    resolve(Settings(data_dir=tmp_path))
    assert stat.S_IMODE((tmp_path / "generated.json").stat().st_mode) == 0o600


def test_what_is_set_is_not_generated_and_not_kept(tmp_path: Path) -> None:
    own = {
        "jwt_secret": SecretStr("set-jwt"),
        "encryption_key": SecretStr("set-key"),
        "admin_email": "me@example.com",
        "admin_password": SecretStr("set-password"),
    }
    resolved = resolve(Settings(data_dir=tmp_path, **own))
    assert resolved.generated_password is None
    assert {name: getattr(resolved.settings, name) for name in own} == own
    assert not (tmp_path / "generated.json").exists()


def test_a_setting_comes_before_what_was_generated_and_does_not_replace_it(tmp_path: Path) -> None:
    generated = resolve(Settings(data_dir=tmp_path)).settings.encryption_key
    own = resolve(Settings(data_dir=tmp_path, encryption_key=SecretStr("mine"))).settings.encryption_key
    assert own.get_secret_value() == "mine"
    assert resolve(Settings(data_dir=tmp_path)).settings.encryption_key == generated


def test_with_an_external_token_issuer_no_secret_is_generated(tmp_path: Path) -> None:
    resolved = resolve(Settings(data_dir=tmp_path, jwt_jwks_url="https://issuer.example/jwks"))
    assert not resolved.settings.jwt_secret.get_secret_value()


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"jwtSecret":1}', b"\xff"])
def test_keys_that_can_not_be_read_stop_the_start_and_are_not_replaced(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "generated.json").write_bytes(broken)
    with pytest.raises(WrongSetting, match="MKTX_DATA_DIR: "):
        resolve(Settings(data_dir=tmp_path))
    assert (tmp_path / "generated.json").read_bytes() == broken


def test_a_draft_that_a_crash_has_left_does_no_harm(tmp_path: Path) -> None:
    draft = tmp_path / "generated.new"
    draft.write_bytes(b"half")
    draft.chmod(0o666)
    resolve(Settings(data_dir=tmp_path))
    assert not draft.exists()
    assert orjson.loads((tmp_path / "generated.json").read_bytes())["encryptionKey"]
    assert stat.S_IMODE((tmp_path / "generated.json").stat().st_mode) == 0o600


# --- shown


def test_every_setting_is_shown_with_its_source_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKTX_PORT", "4711")
    for name in SECRETS:
        monkeypatch.setenv(PREFIX + name.upper(), "canary")
    lines: list[str] = []
    show_config(load(), lines.append)

    assert [line.split()[0] for line in lines] == [PREFIX + name.upper() for name in Settings.model_fields]
    assert "canary" not in "\n".join(lines)
    shown = {line.split()[0]: line for line in lines}
    assert shown["MKTX_PORT"].split()[1:3] == ["4711", "environment"]
    assert shown["MKTX_HOST"].split()[1:3] == ["127.0.0.1", "default"]
    assert shown["MKTX_X_CONSUMER_SECRET"].split()[1:3] == ["********", "environment"]
    for name, field in Settings.model_fields.items():
        assert field.description
        assert field.description in shown[PREFIX + name.upper()]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | variables
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_shows_the_settings() -> None:
    shown = run("config", MKTX_X_BEARER_TOKEN="canary", MKTX_MONGODB_URI="mongodb://me:canary@db.example/")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == len(Settings.model_fields)
    assert "canary" not in shown.stdout + shown.stderr


@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_wrong_setting_ends_a_command_with_one_line_and_code_2(tmp_path: Path, command: str) -> None:
    ended = run(command, MKTX_PORT="many", MKTX_DATA_DIR=str(tmp_path / "data"))
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: MKTX_PORT: ")
    assert not (tmp_path / "data").exists()


def test_a_misspelt_setting_ends_the_start_with_one_line_and_code_2(tmp_path: Path) -> None:
    ended = run("serve", MKTX_ADMIN_PASWORD="canary", MKTX_DATA_DIR=str(tmp_path / "data"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: MKTX_ADMIN_PASWORD: there is no such setting; the nearest is MKTX_ADMIN_PASSWORD\n"
    assert not (tmp_path / "data").exists()
