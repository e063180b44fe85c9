"""From anyone's storage to canonical tables: files, servers, bundled data sets."""

__all__ = []
