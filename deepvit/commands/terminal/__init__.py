"""What the commands share: options, progress on stderr, results on stdout."""
