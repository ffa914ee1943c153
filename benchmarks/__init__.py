"""What the course is fast at, against whom: `python -m benchmarks`, explained in `README.md` beside this."""
