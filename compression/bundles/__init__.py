"""Exported bundles: what is in them, how they are written, and their verification."""
