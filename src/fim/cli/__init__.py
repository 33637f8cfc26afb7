"""The command line of fim."""
