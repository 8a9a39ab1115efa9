"""From a Kustomization and its source to objects in a cluster: build, apply, prune, health, drift."""
