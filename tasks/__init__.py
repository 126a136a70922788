"""The lm-eval tasks: one tier and form a file, and the group `kapoc`. Data only."""
