"""Data: raw files in, rows out. `load.load_data` is the door; `input_spec.InputSpec` prepares new text the same way."""
