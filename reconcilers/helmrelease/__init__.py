"""From a HelmRelease and its chart to a release: values, render, apply, hooks, records."""
