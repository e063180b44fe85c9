"""Where the workbook lies, and where it puts what it makes.

In a checkout both are its root. An installed package brings a copy of what it reads along, in
``helpers/shipped``, where nothing is ever written: caches and runs go to the current folder.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DATA", "HOME", "IS_CHECKOUT", "PACKAGE", "REPO", "home_of"]

#: The folder of the package ``helpers``.
PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = PACKAGE / "shipped"

#: Whether the package lies in a checkout of the repository, and is not installed from a wheel.
IS_CHECKOUT = not _SHIPPED.is_dir()

#: The repository's root, or the copy of what an installed package reads of it.
REPO = PACKAGE.parent if IS_CHECKOUT else _SHIPPED

#: The folder of bundled data.
DATA = REPO / "data"


def home_of(here: Path, *, package: Path = PACKAGE) -> Path:
    """Return where an installed package puts caches and runs if it is started in a folder.

    Args:
        here: the current folder.
        package: where the package lies.

    Returns:
        That folder; but where it is in the package itself, as of a notebook that is opened there,
        a folder of the person's own cache, after the rules of XDG.

    Example:
        >>> home_of(Path("/work"), package=Path("/lib/helpers"))
        PosixPath('/work')
        >>> home_of(Path("/lib/helpers/shipped"), package=Path("/lib/helpers")).name
        'sample-importance-workbook'
    """
    if here != package and package not in here.parents:
        return here
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    caches = stated if stated.is_absolute() else Path.home() / ".cache"  # XDG's own rule
    return caches / "sample-importance-workbook"


#: Where caches and runs go unless a person says otherwise, and where a run's notebooks run.
HOME = REPO if IS_CHECKOUT else home_of(Path.cwd())
