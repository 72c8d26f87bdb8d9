"""Who answers requests: a server, a model on this machine, a provider's batch files."""
