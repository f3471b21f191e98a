"""Whole examples, each a project folder as a user would have it, with the code that fetches its data."""
