"""Which form a graph is written in, where it is not the rules that choose: several are tried, and the best is taken."""
