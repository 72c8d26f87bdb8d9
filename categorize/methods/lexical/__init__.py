"""Label names and aliases found in the text: a lexical matcher that needs no training row of a label."""
