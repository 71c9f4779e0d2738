"""Sessions of TensorRT and TensorRT-RTX."""
