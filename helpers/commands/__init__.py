"""What each command of ``python -m helpers`` does."""

__all__ = []
