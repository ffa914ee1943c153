"""Assign, collect, grade, report, give back: `python -m vae_lib.grading`."""
