"""Speech that comes in pieces and motion that goes out in chunks, whatever carries them."""
