"""Credentials of sources, one module for each kind."""
