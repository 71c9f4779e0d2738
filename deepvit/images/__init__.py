"""Images in, labels with them: datasets, decoding, class names."""
