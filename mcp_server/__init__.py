"""The MCP server: what agents see and do of the clusters, in a process of its own.

It may use heavy packages, which the daemon may not. It reads clusters as commands do, through
`inspection`, and asks the daemon over the control socket only for what nobody else knows.
"""
