"""The shared-prefix engine: token sequences as a tree, every shared prefix computed once."""
