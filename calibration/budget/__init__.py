"""What quantisation may cost, and which linears stay out of it for that."""
