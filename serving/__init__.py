"""Servers over gestray's artifacts and models; imports from `gestray`, never from `jobs`."""
