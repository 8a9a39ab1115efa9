"""Spec and credentials in, artifact out: fetching from Git and keeping what was fetched."""
