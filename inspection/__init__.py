"""What commands and the MCP server know of the clusters: read anew each time, kept nowhere.

Everything here works on the API server alone; what only the daemon knows comes over its control
socket, and its absence is told and no error. Nothing here parses a command line or prints.
"""
