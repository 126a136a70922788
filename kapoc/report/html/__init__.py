"""The report as one HTML page that opens from disk: no request goes out, and no text of a model is ever markup."""
