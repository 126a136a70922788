"""The knowledge sets and the bundled general-ability items. Data only."""
