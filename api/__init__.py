"""Wire types of the Kubernetes APIs that gitopsd serves: no I/O, no clock."""

__version__ = "0.1.0"
