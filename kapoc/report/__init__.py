"""A comparison -> text. One function a format; nothing here measures or judges."""
