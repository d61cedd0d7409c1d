"""What several tests need: free ports, waiting, real servers, a webhook receiver."""
