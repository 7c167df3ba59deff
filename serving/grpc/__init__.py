"""The API over gRPC, answered by the replicas themselves.

Serve has a proxy for gRPC, but it listens on all addresses, whatever it is told. So each replica
listens, at the address that its config names: those of a node share the port, and the kernel gives
each connection to one of them (SO_REUSEPORT). The same functions answer as over HTTP.
"""
