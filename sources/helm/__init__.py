"""Helm charts: repositories that serve them over HTTP, and what is in them.

`repositories.Repositories` asks the servers; one serves the whole daemon, and one download serves
all that name the same repository with the same credentials. An index is kept as `convert` wrote it
and searched by `index`. A chart is its files by their path in it: `archive` reads them out of a
packed one, and `package` packs them, byte for byte the same each time.

Nothing here knows YAML but `convert`: what a ``Chart.yaml`` says is read in
`reconcilers.helmchart.metadata`, by the same reader as everybody's YAML.
"""
