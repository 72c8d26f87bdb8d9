"""Files and published datasets in, raw columns out: one parser a format, one-line errors for what is broken."""
