"""The tested half of the course: variational auto-encoders checked against exact answers."""

__version__ = "0.1.0"
