"""Raw files in, rows out: `splits.load_data`; `input_spec.InputSpec` prepares new text in the same way."""
