"""``gitopsd check``: everything that must be right for the daemon to run, line by line."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from cli import access, check_cluster, check_sources, options, settings
from daemon import datadir, tools
from daemon import settings as daemon_settings
from inspection import daemon_client, failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from daemon.settings import Settings

Finding = tuple[bool, str]
"""Whether something is right, and a line about it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print every finding; fails when one of them is wrong."""
    try:
        loaded = settings.load(args)
    except failure.UsageError as err:
        print(f"✗ {err}")
        return 2
    print(f"✔ settings: {settings.path(args)}")
    is_right = True
    for is_good, line in findings(args, loaded):
        print(f"{'✔' if is_good else '✗'} {line}", flush=True)
        is_right &= is_good
    return 0 if is_right else 1


def findings(args: argparse.Namespace, loaded: Settings) -> Iterator[Finding]:
    """Yield what is found, in the order in which a first start would stumble over it."""
    running = daemon_client.status(loaded.control_socket)
    if running:
        yield True, f"daemon: process {running.pid}, version {running.version}"
    else:
        yield from _data_dir(loaded)
        yield from _listeners(loaded)
    yield from _secret(loaded)
    yield _kustomize(loaded)
    yield from _decryption(loaded)
    yield from _helm(loaded)
    if not loaded.clusters:
        yield False, f"clusters: none; add [[clusters]] to {settings.path(args)}"
        return
    for cluster in access.chosen(args):
        for is_good, line in access.run(check_cluster.findings(cluster)):
            yield is_good, f"cluster {cluster.name}: {line}"
        for is_good, line in access.run(check_sources.findings(cluster)):
            yield is_good, f"cluster {cluster.name}: {line}"


def _data_dir(loaded: Settings) -> Iterator[Finding]:
    try:
        with datadir.hold(loaded.data_dir):
            yield True, f"data directory: {loaded.data_dir}"
    except datadir.DataDirError as err:
        yield False, str(err)


def _listeners(loaded: Settings) -> Iterator[Finding]:
    """Bind each address for a moment."""
    for key in ("webhooks", "artifacts", "metrics"):
        address = getattr(loaded.listen, key)
        if not address:
            yield True, f"listener {key}: switched off"
            continue
        host, port = daemon_settings.split_address(address)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError as err:
            yield False, f"listener {key}: {address}: {err.strerror or err}"
        else:
            yield True, f"listener {key}: {address} is free"


def _secret(loaded: Settings) -> Iterator[Finding]:
    file = loaded.github.webhook_secret_file
    if file is None:
        yield True, "webhook of GitHub: no secret file, so deliveries are refused"
        return
    try:
        daemon_settings.read_secret(file)
    except daemon_settings.SettingsError as err:
        yield False, str(err)
    else:
        yield True, f"webhook of GitHub: secret in {file}"


def _decryption(loaded: Settings) -> Iterator[Finding]:
    """Look at what decryption needs; without a key file it is a matter of the clusters' Secrets."""
    found, file = tools.find_sops(loaded), loaded.decryption.age_key_file
    if not isinstance(found, str):
        yield True, f"sops: {found}"
    elif file or loaded.tools.sops:
        yield False, found
    if file is None:
        return
    try:
        daemon_settings.read_secret(file)
    except daemon_settings.SettingsError as err:
        yield False, str(err)
    else:
        yield True, f"decryption: age key in {file}"


def _kustomize(loaded: Settings) -> Finding:
    found, complaint = asyncio.run(tools.look(loaded))
    return not complaint, complaint or f"kustomize: {found.kustomize} {found.kustomize_version}"


def _helm(loaded: Settings) -> Iterator[Finding]:
    """Look at helm where there is one; who has no HelmRelease needs none."""
    found = asyncio.run(tools.look_for_helm(loaded))
    if found.path or loaded.tools.helm:
        yield not found.complaint, found.complaint or f"helm: {found.path} {found.version}"
