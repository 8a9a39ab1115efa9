from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from api import __version__
from cli import main

ROOT = Path(__file__).parents[3]
ONE = '[[clusters]]\nname = "home"\nkubeconfig = "/nowhere/kubeconfig"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(f'{ONE}\n[daemon]\ndata_dir = "{tmp_path}/data"\n'.replace(ONE, "", 1) + ONE)
    return file


def stderr_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"gitopsd {__version__} ")


def test_config_prints_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["config"]) == 0
    assert capsys.readouterr().out == (ROOT / "config.toml").read_text()


@pytest.mark.parametrize("argv", [[], ["frobnicate"], ["get"], ["reconcile", "--no-such-option"]])
def test_wrong_command_line_ends_with_status_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(argv)

    assert caught.value.code == 2
    assert stderr_of(capsys).startswith("usage: gitopsd ")


def test_missing_settings_say_how_to_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["status", "--config", str(tmp_path / "c.toml")]) == 2
    assert "gitopsd config > " in stderr_of(capsys)


def test_unknown_cluster_is_told_with_the_known_ones(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["get", "ks", "--config", str(config), "--cluster", "work"]) == 2
    assert "no cluster is named 'work'; known: home" in stderr_of(capsys)


def test_command_that_needs_one_cluster_asks_which(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + ONE.replace("home", "work"))

    assert main.main(["reconcile", "ks", "apps", "--config", str(config)]) == 2
    assert "say which cluster with --cluster: home, work" in stderr_of(capsys)


def test_missing_kubeconfig_is_one_line_without_a_traceback(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["get", "ks", "--config", str(config)]) == 1

    (line,) = stderr_of(capsys).splitlines()
    assert line.startswith("gitopsd: cluster home: ")
    assert "/nowhere/kubeconfig" in line


def test_status_works_without_a_daemon_and_says_so(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["status", "--config", str(config)]) == 1

    out = capsys.readouterr().out
    assert "NOT RUNNING" in out
    assert "cluster home: away" in out


def test_with_source_is_refused_for_anything_but_kustomizations(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["reconcile", "source", "git", "a", "--with-source", "--config", str(config)]

    assert main.main(argv) == 2
    assert "--with-source is for Kustomizations" in stderr_of(capsys)


def test_help_imports_neither_aiohttp_nor_the_models() -> None:
    script = (
        "import sys, cli.main\n"
        "try: cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit([name for name in ('aiohttp', 'dulwich', 'kube') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode in {0, 1}
    assert done.stderr.strip() in {"", "[]"}
    for command in main.COMMANDS:
        assert f"  {command}" in done.stdout


def test_every_subcommand_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in main.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            main.main([command, "--help"])
        assert caught.value.code == 0
        assert main.COMMANDS[command] in capsys.readouterr().out


def test_service_can_be_looked_at_before_it_is_installed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["service", "install", "--dry-run", "--config", str(config)]) == 0

    out = capsys.readouterr().out
    assert f"run --config {config}" in out or f"<string>{config}</string>" in out
    assert out.splitlines()[-1].startswith("# ")
    assert not (config.parent / "data").exists()


def test_check_names_what_is_wrong_and_what_is_right(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f'[tools]\nkustomize = "/nowhere/kustomize"\n{config.read_text()}')

    assert main.main(["check", "--config", str(config)]) == 1

    out = capsys.readouterr().out
    assert f"✔ settings: {config}" in out
    assert f"✔ data directory: {config.parent}/data" in out
    assert "✗ [tools] kustomize = '/nowhere/kustomize': is not a program" in out
    assert "✗ cluster home: " in out


def test_check_of_wrong_settings_ends_with_status_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[frobnicate]\n")

    assert main.main(["check", "--config", str(config)]) == 2
    assert "✗ " in capsys.readouterr().out


def test_closed_port_is_told_in_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""
    )
    config.write_text(config.read_text().replace("/nowhere/kubeconfig", str(kubeconfig)))
    for argv in (["get", "ks"], ["tree", "ks", "a"], ["events"], ["reconcile", "ks", "a"]):
        assert main.main([*argv, "--config", str(config)]) == 1
        assert stderr_of(capsys) == (
            "gitopsd: cluster home: cannot connect to http://127.0.0.1:1: connection refused\n"
        )
    assert main.main(["check", "--config", str(config)]) == 1
    assert "refused; does it run, and is its address in the kubeconfig right?" in (
        capsys.readouterr().out
    )
    for command in ("diff", "build"):
        status = main.main([command, "ks", "a", "--config", str(config)])
        assert status == {"diff": 2, "build": 1}[command]
        assert "connection refused" in stderr_of(capsys)


def test_question_without_an_answer_has_another_status_than_no(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["diff", "ks", "a", "--config", str(tmp_path / "none.toml")]) == 2
    assert "gitopsd config > " in stderr_of(capsys)


def test_service_that_cannot_be_written_is_told_without_a_traceback(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    config.write_text(config.read_text().replace(f"{tmp_path}/data", f"{tmp_path}/file/data"))

    assert main.main(["service", "install", "--config", str(config)]) == 1
    assert "set [daemon] data_dir to another directory" in stderr_of(capsys)


def test_interrupt_ends_a_command_without_a_traceback(config: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        user, name = {"name": "u", "user": {"token": "t"}}, {"cluster": "c", "user": "u"}
        server = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": name}],
            "clusters": [server],
            "users": [user],
        }
        kubeconfig.write_text(json.dumps(content))
        config.write_text(config.read_text().replace("/nowhere/kubeconfig", str(kubeconfig)))
        command = [sys.executable, "-m", "cli.main", "get", "ks", "--config", str(config)]
        child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()  # it waits for an answer now
        with connection:
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=30)

    assert (child.returncode, errors) == (130, "")


def test_status_starts_without_what_only_clusters_need(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[daemon]\ndata_dir = "{tmp_path}/data"\n')
    code = (
        "import sys; from cli.main import main; main(sys.argv[1:]); "
        "sys.exit(len({'aiohttp', 'kubernetes_asyncio', 'mcp', 'yaml'} & sys.modules.keys()))"
    )
    argv = [sys.executable, "-c", code, "status", "--config", str(file)]

    assert subprocess.run(argv, check=False, cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("command", ["delete", "suspend", "resume", "reconcile", "tree", "diff"])
@pytest.mark.parametrize("name", ["", "..", "a/b", "a%2f"])
def test_name_that_would_mean_something_else_is_refused(
    config: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["ks", name], [f"ks/{name}"]):
        status = main.main([command, *words, "--config", str(config)])

        assert status == 2
        assert "name" in stderr_of(capsys)


@pytest.mark.parametrize("command", ["trace", "logs", "debug"])
def test_object_without_a_name_is_refused(
    config: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([command, "deploy/", "--config", str(config)]) == 2
    assert "is no KIND/NAME" in stderr_of(capsys)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("reconcil", "did you mean reconcile?"),
        ("gte", "did you mean get?"),
        ("xyzzy", "`gitopsd --help` lists them"),
    ],
)
def test_mistyped_command_is_answered_with_the_nearest(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([word])

    assert caught.value.code == 2
    assert f"there is no command '{word}'; {hint}" in stderr_of(capsys)


def test_broken_settings_are_told_with_their_line_or_key(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, message in (
        ("[daemon\n", "line 1"),
        ("[daemon]\ndata_dri = '/x'\n", "data_dri"),
        ("[[clusters]]\nkubeconfig = '/x'\n", "name"),
        ("[listen]\nwebhooks = 5\n", "listen.webhooks"),
    ):
        config.write_text(content)
        for command in (["get", "ks"], ["check"], ["mcp"], ["drift"]):
            assert main.main([*command, "--config", str(config)]) == 2
            captured = capsys.readouterr()
            assert message in captured.err + captured.out, command


def test_what_is_missing_is_named_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["compare"])

    assert stderr_of(capsys).endswith("the following arguments are required: left, right\n")


def test_interrupt_while_a_command_is_being_found_leaves_no_traceback(tmp_path: Path) -> None:
    code = (
        "import importlib, sys; from cli import main\n"
        "def interrupted(name): raise KeyboardInterrupt\n"
        "importlib.import_module = interrupted\n"
        "sys.exit(main.main(['version']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (130, "")


def test_empty_log_says_where_a_log_may_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gitopsd.log"
    file.touch()

    assert main.main(["logs", "--file", str(file)]) == 1
    assert "the log is empty" in stderr_of(capsys)
