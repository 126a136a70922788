"""Facts -> training texts that their author did not write: each use of a fact, unknown names, contrasts."""
