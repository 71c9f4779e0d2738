"""What the tests share is imported as tests.…, whatever else of that name is installed."""
