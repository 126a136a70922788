"""A recipe and knowledge sets -> a model: what is trained on, step by step, and what holds it to its base."""
