"""Controller machinery: queues, workers, supervision, child processes, conditions, events, logs.

Nothing here knows a kind of Kubernetes object or opens a connection to a cluster. Everything that
outlives one call is owned by somebody: tasks by a `supervisor.Supervisor` or a TaskGroup, threads
by `limits.Threads`, child processes by the `process.run` that started them.
"""
