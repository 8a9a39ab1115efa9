from __future__ import annotations

from pathlib import Path

import pytest

from daemon import paths, settings

ROOT = Path(__file__).parents[3]
ONE = '[[clusters]]\nname = "home"\n'


def refusal(text: str) -> str:
    with pytest.raises(settings.SettingsError) as caught:
        settings.parse(text, "config.toml")
    return str(caught.value)


@pytest.mark.parametrize("kind", ["OCIRepository", "Bucket"])
def test_sync_of_another_kind_names_what_it_follows(kind: str) -> None:
    sync = f'[[clusters]]\nname = "home"\n[clusters.sync]\nkind = "{kind}"\nurl = "oci://h/r"\n'
    with pytest.raises(settings.SettingsError, match=r"clusters.*sync.*ref has to be"):
        settings.parse(sync, "config.toml")
    parsed = settings.parse(f'{sync}ref = "latest"\nprovider = "aws"\n', "config.toml")
    assert parsed.clusters[0].sync is not None
    assert parsed.clusters[0].sync.kind == kind


def test_shipped_example_is_the_default() -> None:
    assert settings.load(ROOT / "config.toml") == settings.Settings()


def test_shipped_example_names_every_key() -> None:
    text = (ROOT / "config.toml").read_text()
    tables = (
        settings.Daemon,
        settings.Listen,
        settings.GitHub,
        settings.Tools,
        settings.Limits,
        settings.Cluster,
        settings.Distribution,
        settings.Sync,
    )
    for table in tables:
        for key in set(table.__struct_fields__) - {"distribution", "sync"}:
            assert f"{key} = " in text, f"{table.__name__}.{key}"


def test_commented_cluster_of_the_example_is_valid() -> None:
    text = (ROOT / "config.toml").read_text()
    block = text[text.index("# [[clusters]]") :]
    lines = [line.removeprefix("# ").removeprefix("#") for line in block.splitlines()]

    (cluster,) = settings.parse("\n".join(lines), "example").clusters

    assert cluster.sync is not None
    assert cluster.sync.pull_secret == "flux-system"
    assert cluster.distribution == settings.Distribution()


def test_unknown_key_is_refused_with_file_table_and_suggestion() -> None:
    assert refusal("[listen]\nwebhook = ''") == (
        "config.toml: listen.webhook: unknown key; did you mean 'webhooks'?"
    )


def test_unknown_key_of_a_cluster_is_named_with_its_number() -> None:
    message = refusal(ONE + '[[clusters]]\nname = "b"\nkubeconfg = "x"')

    assert message == "config.toml: clusters[1].kubeconfg: unknown key; did you mean 'kubeconfig'?"


def test_key_of_another_table_is_told_where_it_belongs() -> None:
    assert refusal(ONE + 'url = "https://example.org/fleet.git"') == (
        "config.toml: clusters[0].url: unknown key; 'url' belongs in [clusters.sync]"
    )


def test_unknown_table_is_refused() -> None:
    assert refusal("[listeners]") == ("config.toml: listeners: unknown key; did you mean 'listen'?")


def test_wrong_type_names_the_key() -> None:
    assert refusal('[limits]\nthreads = "four"').startswith("config.toml: limits.threads: ")


@pytest.mark.parametrize("address", ["9292", "localhost", "::1:80", "a b:80"])
def test_address_without_host_or_port_is_refused(address: str) -> None:
    assert refusal(f'[listen]\nmetrics = "{address}"').startswith("config.toml: listen.metrics: ")


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:80", "::1", 80),
        ("mini.local:8080", "mini.local", 8080),
    ],
)
def test_address_is_split(address: str, host: str, port: int) -> None:
    assert settings.split_address(address) == (host, port)


def test_broken_toml_names_the_line() -> None:
    assert "line 2" in refusal("[listen]\nwebhooks\n")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError, match="No such file"):
        settings.load(tmp_path / "config.toml")


def test_two_clusters_of_one_name_are_refused() -> None:
    assert "two [[clusters]] are named 'home'" in refusal(ONE + ONE)


def test_cluster_name_must_be_a_label() -> None:
    assert refusal('[[clusters]]\nname = "Home Lab"').startswith("config.toml: clusters[0].name: ")


def test_service_account_is_for_a_pod() -> None:
    message = refusal(ONE + 'service_account = "/x"')
    assert "clusters[0]: service_account needs in_cluster = true" in message


def test_in_cluster_excludes_a_kubeconfig() -> None:
    message = refusal(ONE + 'in_cluster = true\nkubeconfig = "/x"')

    assert "clusters[0]: in_cluster excludes kubeconfig" in message


def test_interval_of_sync_must_be_a_duration() -> None:
    message = refusal(ONE + '[clusters.sync]\nurl = "https://example.org"\ninterval = "soon"')

    assert message == "config.toml: clusters[0].sync: invalid duration 'soon'"


def test_unknown_component_is_refused() -> None:
    assert "clusters[0].components" in refusal(ONE + 'components = ["kustomise-controller"]')


def test_paths_expand_home_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("CONF", "/conf")

    (cluster,) = settings.parse(ONE + 'kubeconfig = "~/.kube/$CONF/k"', "x").clusters

    assert cluster.kubeconfig == Path("/home/ann/.kube//conf/k")


def test_path_with_an_unset_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)

    assert "clusters[0].kubeconfig" in refusal(ONE + 'kubeconfig = "$NOWHERE/k"')


def test_control_socket_lies_in_the_data_directory_by_default() -> None:
    loaded = settings.parse('[daemon]\ndata_dir = "/data"', "x")

    assert loaded.control_socket == Path("/data/control.sock")


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ('[daemon]\ndata_dir = "/data"\n[frobnicate]\n', "/data/control.sock"),
        ('[daemon]\ncontrol_socket = "/run/x.sock"\n[listen]\nwebhooks = 1\n', "/run/x.sock"),
    ],
)
def test_control_socket_is_found_in_a_file_that_is_wrong_elsewhere(
    tmp_path: Path, text: str, socket: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)

    assert settings.control_socket(file) == Path(socket)


@pytest.mark.parametrize("text", ["[daemon", "[daemon]\nno_such_key = 1"])
def test_control_socket_is_the_default_where_nothing_can_be_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)

    assert settings.control_socket(file) == settings.Settings().control_socket


def test_secret_is_read_without_its_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"s3cret\n")
    file.chmod(0o600)

    assert settings.read_secret(file) == b"s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"s3cret")
    file.chmod(mode)

    with pytest.raises(settings.SettingsError, match=f"mode {mode:04o} .* chmod 600"):
        settings.read_secret(file)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_empty_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(settings.SettingsError, match="is empty"):
        settings.read_secret(file)


def test_missing_secret_is_told(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError, match="No such file"):
        settings.read_secret(tmp_path / "secret")


def test_data_directory_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/Users/ann")
    assert paths.default_data_dir(platform="darwin") == Path(
        "/Users/ann/Library/Application Support/gitopsd"
    )
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert paths.default_data_dir(platform="linux") == Path("/xdg/gitopsd")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert paths.default_data_dir(platform="linux") == Path("/Users/ann/.local/share/gitopsd")


def test_configuration_file_named_by_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITOPSD_CONFIG", "~/g.toml")
    monkeypatch.setenv("HOME", "/home/ann")

    assert paths.default_config() == Path("/home/ann/g.toml")
