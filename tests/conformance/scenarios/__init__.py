"""The scenarios, in files by what they are about."""
