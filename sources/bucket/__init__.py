"""Objects of a bucket: listed, filtered, fetched where they changed, and shown as a tree."""
