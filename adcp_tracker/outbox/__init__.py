"""What the uploading process remembers between batches and after a restart."""
