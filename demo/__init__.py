"""``make demo``: all of gitopsd's main job, shown on a cluster of its own within a minute."""
