"""The commands of `python -m vae_lib`, one module each."""
