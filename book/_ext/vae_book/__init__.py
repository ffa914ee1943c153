"""What this book adds to Jupyter Book: the equation ledger, numbers by chapter, notebooks to take away."""

import os

from . import api, downloads, exercises, figures, formulas, ledger, numbering, sheet

# Kernels inherit this: their figures leave out the script that the page already carries.
os.environ["VAE_BOOK_BUILD"] = "1"


def setup(app):
    formulas.setup(app)
    numbering.setup(app)
    ledger.setup(app)
    downloads.setup(app)
    api.setup(app)
    exercises.setup(app)
    figures.setup(app)
    sheet.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
