"""Images → ranges → Q/DQ: what turns a float32 graph into an INT8 or FP8 one, and says what that cost."""
