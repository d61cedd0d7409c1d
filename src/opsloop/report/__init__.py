"""What happened, as rows and text for people: pure rendering of the store's values."""
