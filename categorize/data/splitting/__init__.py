"""Which split a row goes to, and which rows stay in it; `assignment.assign_rows` is the door."""
