"""A real Kubernetes control plane out of nothing, for the demo, the tests and the benchmarks.

etcd, kube-apiserver, kube-controller-manager and, where pods matter, kube-scheduler and kwok run as
ordinary processes on loopback, with throw-away certificates, below one folder. Not shipped.
"""
