"""What holds when it is tried: scores judged, actions compared, a verdict."""

__all__ = []
