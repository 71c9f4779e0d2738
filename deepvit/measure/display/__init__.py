"""What several measurements show their results by: names, tables, figures."""
