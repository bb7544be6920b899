"""What is kept: SQLite in a folder that one process owns."""
