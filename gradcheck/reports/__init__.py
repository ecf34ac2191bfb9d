"""Reports format what was found; they compute nothing."""
