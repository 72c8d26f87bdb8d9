"""The labelling run: rows become requests, a teacher's answers become labels, and nothing is paid twice."""
