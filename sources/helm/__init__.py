"""Helm charts: repositories that serve them over HTTP, and what is in them.

`repositories.Repositories` speaks to the servers; one serves the whole daemon, and one download
serves all that name the same repository with the same credentials. An index is kept as
`convert` wrote it and searched by `index`. A chart, packed or as a directory, is a
`chart.Files`; `package` packs one as Helm does, byte for byte the same each time.

Nothing here knows YAML but `convert`: what a ``Chart.yaml`` says is read in
`reconcilers.helmchart.metadata`, by the same reader as everybody's YAML.
"""
