"""HelmChart: one chart out of a source becomes an artifact that HelmReleases install."""
