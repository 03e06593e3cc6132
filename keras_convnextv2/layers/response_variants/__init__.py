"""Responses that the paper compares GRN with; `layers.responses` has their names."""
