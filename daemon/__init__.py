"""The composition root: settings, clusters as supervised children, listeners, shutdown."""
