"""The commands of `ganpipe`, by part: each parses, calls, prints; heavy imports inside."""
