"""Takes the README's picture out of the stored notebook 05, so that both show the same result."""

from __future__ import annotations

import base64
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE.parent / "notebooks" / "05_act_on_importance.ipynb"
PICTURE = HERE / "headline.png"


def picture() -> bytes:
    """Return the first figure of notebook 05 that the report shows, as PNG."""
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if "report" in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise SystemExit(f"{NOTEBOOK.name} holds no figure in a cell tagged report.")


if __name__ == "__main__":
    PICTURE.write_bytes(picture())
    print(f"{PICTURE.name} is the figure of {NOTEBOOK.name}")
