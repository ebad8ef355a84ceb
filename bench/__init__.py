"""Owns the figures: what an S3 server costs, beside the machine's own floors; never a part of the store."""
