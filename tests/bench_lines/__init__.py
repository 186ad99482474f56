"""Error rates and probabilities of a line reader on rendered lines of several kinds."""
