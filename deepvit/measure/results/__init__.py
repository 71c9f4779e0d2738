"""What commands write as JSON: every kind of result, and its schema."""
