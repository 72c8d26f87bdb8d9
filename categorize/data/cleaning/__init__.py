"""Named cleaning steps: what every text goes through, in training and in prediction alike; begin with `steps`."""
