"""The audit: every parameter count that the papers print, recounted with the tuners themselves."""
