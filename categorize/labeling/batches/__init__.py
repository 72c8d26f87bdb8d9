"""Provider batches: request files that the user uploads, and result files that come back."""
