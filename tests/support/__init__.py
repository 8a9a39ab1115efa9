"""Servers and tools that tests share; each is a product with its own documentation."""
