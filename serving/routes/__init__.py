"""API v1 by topic: each module makes a router over whoever has the models."""
