"""Models that compress, learnt from data like those that are to be compressed."""
