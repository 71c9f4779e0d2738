"""The commands of the command line: parse → options → one library call → print."""
