"""Moving one network onto another by its symmetries: matching of units, one standard for factors between layers."""
