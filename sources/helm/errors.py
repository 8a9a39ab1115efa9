"""What is wrong with charts.

::

    ValueError
    └── ChartError    a chart, packed or not, that Helm could not load either
"""

from __future__ import annotations


class ChartError(ValueError):
    """A chart that cannot be used; the text says what is wrong with it."""
