"""On which sensors the outputs of a network depend."""
