"""Transcripts of speech in the forms that recorders, recognizers and subtitle editors write, one document a file."""
