"""What a few lines of arithmetic reach: the baselines of tasks and of masked sensors."""
