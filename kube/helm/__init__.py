"""Helm's formats: the record of a release, the Secrets that hold it, Flux's digests of it."""
