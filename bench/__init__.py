"""``make bench`` and ``make soak``: what gitopsd costs, and what it survives.

Both drive a reconciler through the Kubernetes API alone, so that another one that speaks Flux's API
can be put in its place.
"""
