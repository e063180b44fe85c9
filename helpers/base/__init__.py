"""What every room stands on: errors, paths, words, and small files read safely."""

__all__ = []
