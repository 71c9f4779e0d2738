"""Building an engine in a process of its own: the network, the process, and how far it is."""
