"""A DeepViT → a verified artifact: folds, ONNX, precision, parity, engines."""
