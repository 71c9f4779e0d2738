"""The layers of a finished engine, as the library that built it lists them."""
