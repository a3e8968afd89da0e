"""Every arm on the same rows, and a report a sceptic can check."""
