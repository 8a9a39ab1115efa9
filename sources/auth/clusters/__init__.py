"""Kubernetes of clouds: where a cluster is, and what opens it."""
