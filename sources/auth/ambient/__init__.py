"""The identities in clouds that the machine has on which the daemon runs.

Each is looked for where the cloud's own libraries look: environment, files of the user, and the
address at which a cloud tells its own machines who they are. Nothing in a cluster chooses any of
these places. Whether a cluster may use them is decided in `reconcilers.ambient`.
"""
