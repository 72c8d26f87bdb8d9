"""Pictures of a report, drawn by matplotlib; knows numbers and names, not pages."""
