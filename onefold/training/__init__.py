"""Training sets, trainers and models: what is learnt from features, and what travels with it."""
