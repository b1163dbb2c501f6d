"""What a run leaves for people and programs while it trains: TensorBoard curves, a log, a state."""
