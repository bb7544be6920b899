"""A file per subject: llmkeep's own faces, and its peers."""
