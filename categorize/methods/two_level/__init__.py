"""A main-category head and a subcategory head on one encoder or decoder."""
