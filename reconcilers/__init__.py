"""One module or package for each kind: the only place where a source meets a cluster."""
