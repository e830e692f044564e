"""An embedded API server: Kubernetes' protocol over SQLite, for a cluster on one machine.

Comes in: HTTP requests of kubectl, client libraries and schedulers. Goes out: answers and watch
streams. `store` keeps the objects, `objects` knows the kinds, `registry` carries out verbs on
them, `http` speaks the protocol, `controllers` and `kubelets` make a cluster of it. It decides no
placement. docs/reference/apiserver.md lists what is spoken and what is not.
"""
