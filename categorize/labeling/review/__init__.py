"""People check a sample: sheets out, corrections in, and conclusions that hold however often the labels err."""
