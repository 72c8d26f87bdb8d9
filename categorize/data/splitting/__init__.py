"""Which split a row goes to, and which rows stay in it; begin with `assignment.assign_rows`."""
