"""A model -> a run, through lm-eval: the only room that imports it."""
