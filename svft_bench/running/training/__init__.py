"""One training: `train`, its checkpoints and its chance, in parts or on several processes with the same result."""
