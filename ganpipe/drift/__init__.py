"""Whether images that come in, and those served, are still what the champion knows."""
