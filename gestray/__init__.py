"""gestray learns what gestures mean and puts the right gesture under the right words."""

__version__ = "0.1.0"
