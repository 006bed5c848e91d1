"""Configuration: file, environment and flags."""

from pathlib import Path

import pytest

from topseg.core.config import explain
from topseg.core.errors import InputError
from topseg.serve.config import ServeConfig, read_serve_config


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text("models: {a: x}\nport: 1\nqueue: 2\nthreads: 3\n")
    environment = {"TOPSEG_SERVE_PORT": "10", "TOPSEG_SERVE_QUEUE": "20", "TOPSEG_OFFLINE": "1"}
    config = read_serve_config(tmp_path / "serve.yaml", (), ("port=100",), environment)
    assert (config.port, config.queue, config.threads, config.models) == (100, 20, 3, {"a": "x"})


def test_models_are_named(tmp_path: Path) -> None:
    given = (str(tmp_path / "city"), "b=runs/mine")
    config = read_serve_config(None, given, (), {"TOPSEG_SERVE_MODELS": "{old: x}"})
    assert config.models == {"city": given[0], "b": "runs/mine"}


def test_paths_in_a_file_are_the_files(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    file = tmp_path / "serve.yaml"
    file.write_text("models: {a: bundle, b: sub/c, d: name}\ntls_cert: c.pem\ntls_key: /k.pem\n")
    config = read_serve_config(file, environment={})
    assert config.models == {"a": f"{tmp_path}/bundle", "b": f"{tmp_path}/sub/c", "d": "name"}
    assert (config.tls_cert, config.tls_key) == (tmp_path / "c.pem", Path("/k.pem"))


@pytest.mark.parametrize(
    ("models", "overrides", "environment", "message"),
    [
        ((), (), {}, "models: none given"),
        (("a/m", "b/m"), (), {}, "two are called 'm'"),
        (("a b=m",), (), {}, "got the name 'a b'"),
        (("m",), ("prt=1",), {}, "prt: unknown key, did you mean 'port'?"),
        (("m",), ("port=99999",), {}, "port: got '99999'"),
        (("m",), ("workers=0",), {}, "workers"),
        (("m",), ("tls_key=k",), {}, "tls_cert: only together with tls_key"),
        (("m",), ("api_keys=[short]",), {}, "api_keys: a key is too short"),
        (("m",), ("api_keys=[schlüssel]",), {}, "api_keys: a key has characters that no request"),
        (("m",), (), {"TOPSEG_SERVE_PROT": "1"}, "did you mean 'TOPSEG_SERVE_PORT'?"),
        (("m",), (), {"TOPSEG_SERVE_PORT": "x"}, "port: got 'x', expected a whole number"),
    ],
)
def test_what_is_wrong_is_said(
    models: tuple[str, ...], overrides: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_serve_config(None, models, overrides, environment)
    assert message in str(caught.value)
    assert "'short'" not in str(caught.value)


def test_it_listens_on_loopback_for_loopback_names() -> None:
    config = ServeConfig(models={"m": "m"})
    assert config.host == "127.0.0.1"
    assert "localhost" in config.allowed_hosts
    assert ServeConfig(models={"m": "m"}, host="0.0.0.0").allowed_hosts == ("*",)
    assert ServeConfig(models={"m": "m"}, hosts=("a.example",)).allowed_hosts == ("a.example",)


def test_workers_fill_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topseg.serve.config._processors", lambda: 12)
    assert ServeConfig().worker_count == 8
    assert ServeConfig(threads=4).worker_count == 3
    assert ServeConfig(threads=16).worker_count == 1
    assert ServeConfig(workers=10).worker_count == 10


def test_every_field_is_explained() -> None:
    lines = explain(ServeConfig()).splitlines()
    fields = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(fields) == len(ServeConfig.__dataclass_fields__)
    assert all(lines[n - 1].startswith("#") for n in fields)
