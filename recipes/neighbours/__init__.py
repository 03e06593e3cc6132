"""Models of other libraries on this one's backbone; each program reads from top to bottom."""
