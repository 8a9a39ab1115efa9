"""From a Kustomization and its source to objects: build, apply, prune, health, drift."""
