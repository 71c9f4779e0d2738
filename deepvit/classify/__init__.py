"""Classes of any images, wherever they lie and however many there are."""
