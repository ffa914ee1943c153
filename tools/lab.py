"""Open JupyterLab in the book folder; the .md chapters open as notebooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Inside the virtual environment, so that the reader's own Jupyter settings stay as they are.
SETTINGS = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
OVERRIDES = {
    "@jupyterlab/docmanager-extension:plugin": {
        "defaultViewers": {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}
    }
}


def main():
    try:
        SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        SETTINGS.write_text(json.dumps(OVERRIDES, indent=2))
    except OSError as error:
        sys.exit(f"make: cannot write {SETTINGS}: {error}")
    if os.name != "nt":  # Ctrl-C goes straight to JupyterLab, which asks and then stops
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", "book", *sys.argv[1:]])
    sys.exit(subprocess.run([sys.executable, "-m", "jupyterlab", "book", *sys.argv[1:]], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
