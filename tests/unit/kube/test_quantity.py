"""Quantities in Go's canonical form; thousands more are compared in ``tests/parity``."""

from __future__ import annotations

import pytest

from kube import quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("00", "0"),
        ("0Mi", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.500", "1.500"),
        ("0.500", "500m"),
        (".5", "500m"),
        ("5.", "5."),
        ("+5", "+5"),
        ("05", "05"),
        ("-0.5", "-500m"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1000e0", "1e3"),
        ("10e2", "1e3"),
        ("100k", "100k"),
        ("1000k", "1M"),
        ("2E", "2E"),
        ("1024Mi", "1Gi"),
        ("1000Mi", "1000Mi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("1.5Ki", "1536"),
        ("0.5Ki", "512"),
        ("0.1Gi", "107374182400m"),
        ("9Ei", "9223372036854775807"),
        ("0.1n", "1n"),
        (" 1 ", "1"),
    ],
)
def test_quantity_has_one_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("number", "canonical"),
    [(1, "1"), (1000, "1k"), (0.5, "500m"), (1.0, "1"), (0.1, "100m"), (1e-7, "100e-9")],
)
def test_number_is_a_quantity_too(number: float, canonical: str) -> None:
    assert quantity.canonical(number) == canonical


@pytest.mark.parametrize(
    "text", ["", ".", "m", "1K", "1 Gi", "1KiB", "e3", "1e", "--1", "1i", "\u0661"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity.canonical(text)


def test_amount_beyond_the_largest_suffix_keeps_its_text() -> None:
    assert quantity.canonical("5000E") == "5000E"
