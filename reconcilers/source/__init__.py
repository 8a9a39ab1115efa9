"""What every source has in common: its run, its conditions, and its artifact in the store."""
