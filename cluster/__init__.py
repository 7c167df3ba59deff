"""Where the machines that gestray runs on are described: local nodes, clouds, Kubernetes."""
