"""Tokenizer, model, head, adapter and quantization from a recipe."""
