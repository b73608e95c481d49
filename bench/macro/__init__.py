"""One script per question; see bench/README.md."""
