"""HelmRepository: a repository's index becomes an artifact in which HelmCharts look."""
